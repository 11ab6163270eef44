/* The chunks of Shadowsocks AEAD streams (SIP004), salt || { seal(length) || seal(payload) }*, over the EVP interface of OpenSSL 3.
 *
 * Does byte for byte what outline_lb_cipher_aead/chunks.py does; that module explains it, and the same tests run over both. What is gained is the
 * interpreter between the units, which a server that sends small chunks makes dear.
 */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <string.h>

enum { CHUNK = 0x3FFF, BATCH = 8 * CHUNK, TAG = 16, LENGTH = 2 + TAG, NONCE = 12, MAX_SALT = 32, MAX_UNIT = CHUNK + TAG };

/* The nonce counts the units of a key from 0, little-endian. */
static void next(uint8_t nonce[NONCE]) {
    for (int i = 0; i < NONCE && !++nonce[i]; i++) {
    }
}

static PyObject *openssl_failed(void) {
    PyErr_SetString(PyExc_RuntimeError, "OpenSSL refuses the cipher or its key");
    return NULL;
}

/* Return a context with its key set, or NULL with an exception. */
static EVP_CIPHER_CTX *keyed(const char *name, const uint8_t *key, Py_ssize_t size, int encrypt) {
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, name, NULL);
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    int good = cipher && context && EVP_CIPHER_get_key_length(cipher) == size && EVP_CipherInit_ex2(context, cipher, key, NULL, encrypt, NULL);
    EVP_CIPHER_free(cipher); /* the context keeps it */
    if (!good) {
        EVP_CIPHER_CTX_free(context);
        openssl_failed();
        return NULL;
    }
    return context;
}

/* ---- Sealer */

typedef struct {
    PyObject_HEAD
    EVP_CIPHER_CTX *context;
    PyObject *salt, *header; /* NULL once they left */
    uint8_t nonce[NONCE];
} Sealer;

static PyObject *sealer_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs)) {
    const char *name;
    const char *key;
    Py_ssize_t size;
    PyObject *salt, *header;
    if (!PyArg_ParseTuple(args, "sy#SS", &name, &key, &size, &salt, &header)) {
        return NULL;
    }
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Sealer *self = (Sealer *)allocate(type, 0);
    if (!self) {
        return NULL;
    }
    Py_INCREF(salt);
    Py_INCREF(header);
    self->salt = salt;
    self->header = header;
    self->context = keyed(name, (const uint8_t *)key, size, 1);
    if (!self->context) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static void sealer_dealloc(PyObject *object) {
    Sealer *self = (Sealer *)object;
    PyTypeObject *type = Py_TYPE(object);
    EVP_CIPHER_CTX_free(self->context);
    Py_CLEAR(self->salt);
    Py_CLEAR(self->header);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF(type);
}

/* Seal one unit of two parts, the first of which may be empty; return whether it went well. */
static int seal(Sealer *self, const uint8_t *first, int first_size, const uint8_t *second, int second_size, uint8_t *out) {
    EVP_CIPHER_CTX *context = self->context;
    int used = 0, more = 0;
    int good = EVP_EncryptInit_ex2(context, NULL, NULL, self->nonce, NULL) && (!first_size || EVP_EncryptUpdate(context, out, &used, first, first_size)) &&
               (!second_size || EVP_EncryptUpdate(context, out + used, &more, second, second_size)) && EVP_EncryptFinal_ex(context, out + used + more, &used) &&
               EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, TAG, out + first_size + second_size);
    next(self->nonce);
    return good;
}

static int seal_chunk(Sealer *self, const uint8_t *first, int first_size, const uint8_t *second, int second_size, uint8_t *out) {
    int size = first_size + second_size;
    uint8_t length[2] = {(uint8_t)(size >> 8), (uint8_t)size};
    return seal(self, NULL, 0, length, 2, out) && seal(self, first, first_size, second, second_size, out + LENGTH);
}

/* Seal header and data; the sizes were checked. Return the bytes used, or -1. */
static Py_ssize_t seal_all(Sealer *self, const uint8_t *header, Py_ssize_t header_size, const uint8_t *data, Py_ssize_t size, uint8_t *out) {
    uint8_t *start = out;
    while (header_size || size) {
        int room = CHUNK - (int)header_size;
        int part = size < room ? (int)size : room;
        if (!seal_chunk(self, header, (int)header_size, data, part, out)) {
            return -1;
        }
        out += LENGTH + header_size + part + TAG;
        data += part;
        size -= part;
        header_size = 0;
    }
    return out - start;
}

static PyObject *sealer_seal_into(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    Sealer *self = (Sealer *)object;
    Py_buffer data, out;
    PyObject *result = NULL;
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "seal_into takes data and out");
        return NULL;
    }
    if (PyObject_GetBuffer(args[0], &data, PyBUF_SIMPLE)) {
        return NULL;
    }
    if (PyObject_GetBuffer(args[1], &out, PyBUF_WRITABLE)) {
        PyBuffer_Release(&data);
        return NULL;
    }
    char *salt = "", *header = "";
    Py_ssize_t salt_size = 0, header_size = 0;
    if (self->salt) { /* "S" made sure that both are bytes */
        PyBytes_AsStringAndSize(self->salt, &salt, &salt_size);
        PyBytes_AsStringAndSize(self->header, &header, &header_size);
    }
    Py_ssize_t plain = header_size + data.len;
    if (header_size > CHUNK || salt_size + plain + (plain + CHUNK - 1) / CHUNK * (LENGTH + TAG) > out.len) {
        PyErr_SetString(PyExc_ValueError, "out is too small");
    } else {
        memcpy(out.buf, salt, (size_t)salt_size);
        Py_ssize_t used = seal_all(self, (uint8_t *)header, header_size, data.buf, data.len, (uint8_t *)out.buf + salt_size);
        result = used < 0 ? openssl_failed() : PyLong_FromSsize_t(salt_size + used);
        Py_CLEAR(self->salt);
        Py_CLEAR(self->header);
    }
    PyBuffer_Release(&data);
    PyBuffer_Release(&out);
    return result;
}

static PyObject *sealer_batch(PyObject *Py_UNUSED(self), void *Py_UNUSED(closure)) {
    return PyLong_FromLong(BATCH);
}

static PyMethodDef sealer_methods[] = {{"seal_into", (PyCFunction)(void (*)(void))sealer_seal_into, METH_FASTCALL, NULL}, {NULL, NULL, 0, NULL}};
static PyGetSetDef sealer_properties[] = {{"batch", sealer_batch, NULL, NULL, NULL}, {NULL, NULL, NULL, NULL, NULL}};
static PyType_Slot sealer_slots[] = {
    {Py_tp_new, sealer_new}, {Py_tp_dealloc, sealer_dealloc}, {Py_tp_methods, sealer_methods}, {Py_tp_getset, sealer_properties}, {0, NULL}};
static PyType_Spec sealer_spec = {"outline_lb_codec_openssl._chunks.Sealer", sizeof(Sealer), 0, Py_TPFLAGS_DEFAULT, sealer_slots};

/* ---- Opener */

typedef struct {
    PyObject_HEAD
    EVP_CIPHER_CTX *context; /* NULL until the salt has come */
    PyObject *name, *derive, *error;
    PyObject *rest; /* what came behind a damaged unit, or NULL */
    uint8_t *carry; /* the begin of a unit, or NULL */
    int salt_size, have, need; /* bytes in carry; of the payload unit whose length has been opened, or 0 */
    uint8_t nonce[NONCE];
    char opened; /* whether any unit was */
} Opener;

static PyObject *opener_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs)) {
    PyObject *name, *derive, *error;
    int salt_size;
    if (!PyArg_ParseTuple(args, "UiOO", &name, &salt_size, &derive, &error)) {
        return NULL;
    }
    if (salt_size < 1 || salt_size > MAX_SALT) {
        PyErr_SetString(PyExc_ValueError, "no such salt");
        return NULL;
    }
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Opener *self = (Opener *)allocate(type, 0);
    if (!self) {
        return NULL;
    }
    Py_INCREF(name);
    Py_INCREF(derive);
    Py_INCREF(error);
    self->name = name;
    self->derive = derive;
    self->error = error;
    self->salt_size = salt_size;
    return (PyObject *)self;
}

static void opener_dealloc(PyObject *object) {
    Opener *self = (Opener *)object;
    PyTypeObject *type = Py_TYPE(object);
    EVP_CIPHER_CTX_free(self->context);
    PyMem_Free(self->carry);
    Py_CLEAR(self->name);
    Py_CLEAR(self->derive);
    Py_CLEAR(self->error);
    Py_CLEAR(self->rest);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF(type);
}

static int take_salt(Opener *self, const uint8_t *salt) {
    PyObject *name = PyUnicode_AsUTF8String(self->name);
    PyObject *key = name ? PyObject_CallFunction(self->derive, "y#", (const char *)salt, (Py_ssize_t)self->salt_size) : NULL;
    char *bytes;
    Py_ssize_t size;
    if (key && !PyBytes_AsStringAndSize(key, &bytes, &size)) {
        self->context = keyed(PyBytes_AsString(name), (uint8_t *)bytes, size, 0);
    }
    Py_XDECREF(name);
    Py_XDECREF(key);
    return self->context != NULL;
}

/* Open a unit of `size` bytes of plaintext; return whether it is authentic. */
static int open_unit(Opener *self, const uint8_t *in, int size, uint8_t *out) {
    EVP_CIPHER_CTX *context = self->context;
    int used = 0;
    int good = EVP_DecryptInit_ex2(context, NULL, NULL, self->nonce, NULL) &&
               EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, TAG, (void *)(in + size)) &&
               (!size || EVP_DecryptUpdate(context, out, &used, in, size)) && EVP_DecryptFinal_ex(context, out + used, &used) > 0;
    if (!good) {
        PyErr_SetString(self->error, self->opened ? "authentication failed: damaged on the way?" : "authentication failed: wrong secret or cipher?");
        return 0;
    }
    next(self->nonce);
    self->opened = 1;
    return 1;
}

static int take_length(Opener *self, const uint8_t *unit) {
    uint8_t length[2];
    if (!open_unit(self, unit, 2, length)) {
        return 0;
    }
    self->need = ((length[0] << 8 | length[1]) & CHUNK) + TAG;
    return 1;
}

static int take_payload(Opener *self, const uint8_t *unit, PyObject *pieces) {
    int size = self->need - TAG;
    PyObject *piece = PyBytes_FromStringAndSize(NULL, size);
    int good = piece && open_unit(self, unit, size, (uint8_t *)PyBytes_AsString(piece)) && (!size || !PyList_Append(pieces, piece));
    Py_XDECREF(piece);
    self->need = 0;
    return good;
}

static int wanted(const Opener *self) {
    return !self->context ? self->salt_size : self->need ? self->need : LENGTH;
}

static int take(Opener *self, const uint8_t *unit, PyObject *pieces) {
    return !self->context ? take_salt(self, unit) : self->need ? take_payload(self, unit, pieces) : take_length(self, unit);
}

/* Put more of a unit into the carry; return how much, or -1. */
static Py_ssize_t keep(Opener *self, const uint8_t *data, Py_ssize_t size) {
    int missing = wanted(self) - self->have;
    if (size > missing) {
        size = missing;
    }
    uint8_t *carry = PyMem_Realloc(self->carry, (size_t)(self->have + size));
    if (!carry) {
        PyErr_NoMemory();
        return -1;
    }
    memcpy(carry + self->have, data, (size_t)size);
    self->carry = carry;
    self->have += (int)size;
    return size;
}

/* Take one unit, or what there is of it, from the front of `data`; return how much, or -1 and in `taken` how much was taken nevertheless. */
static Py_ssize_t take_next(Opener *self, const uint8_t *data, Py_ssize_t size, PyObject *pieces, Py_ssize_t *taken) {
    int want = wanted(self), good = 1;
    if (!self->have && size >= want) {
        *taken = want;
        return take(self, data, pieces) ? want : -1;
    }
    *taken = keep(self, data, size);
    if (*taken >= 0 && self->have == want) {
        uint8_t *unit = self->carry;
        self->carry = NULL;
        self->have = 0;
        good = take(self, unit, pieces);
        PyMem_Free(unit);
    }
    return good ? *taken : -1;
}

/* Take everything. What follows a damaged unit is looked at by the next call, as if that had not been there. */
static int take_all(Opener *self, const uint8_t *data, Py_ssize_t size, PyObject *pieces) {
    while (size) {
        Py_ssize_t taken = 0;
        if (take_next(self, data, size, pieces, &taken) < 0) {
            if (taken >= 0 && taken < size) {
                PyObject *type, *value, *trace; /* building bytes must not lose the error */
                PyErr_Fetch(&type, &value, &trace);
                self->rest = PyBytes_FromStringAndSize((const char *)data + taken, size - taken);
                PyErr_Restore(type, value, trace);
            }
            return 0;
        }
        data += taken;
        size -= taken;
    }
    return 1;
}

static int take_object(Opener *self, PyObject *bytes, PyObject *pieces) {
    Py_buffer data;
    if (PyObject_GetBuffer(bytes, &data, PyBUF_SIMPLE)) {
        return 0;
    }
    int good = take_all(self, data.buf, data.len, pieces);
    PyBuffer_Release(&data);
    return good;
}

static PyObject *opener_feed(PyObject *object, PyObject *argument) {
    Opener *self = (Opener *)object;
    PyObject *pieces = PyList_New(0), *rest = self->rest, *all = NULL;
    if (rest) { /* somebody goes on after an error: rare, so this may copy */
        self->rest = NULL;
        PyObject *more = PyBytes_FromObject(argument);
        all = more ? PySequence_Concat(rest, more) : NULL;
        Py_DECREF(rest);
        Py_XDECREF(more);
        argument = all;
    }
    if (pieces && !(argument && take_object(self, argument, pieces))) {
        Py_CLEAR(pieces);
    }
    Py_XDECREF(all);
    return pieces;
}

static PyObject *opener_complete(PyObject *object, void *Py_UNUSED(closure)) {
    Opener *self = (Opener *)object;
    return PyBool_FromLong(!self->need && !self->have && !self->rest);
}

static PyMethodDef opener_methods[] = {{"feed", opener_feed, METH_O, NULL}, {NULL, NULL, 0, NULL}};
static PyGetSetDef opener_properties[] = {{"complete", opener_complete, NULL, NULL, NULL}, {NULL, NULL, NULL, NULL, NULL}};
static PyType_Slot opener_slots[] = {
    {Py_tp_new, opener_new}, {Py_tp_dealloc, opener_dealloc}, {Py_tp_methods, opener_methods}, {Py_tp_getset, opener_properties}, {0, NULL}};
static PyType_Spec opener_spec = {"outline_lb_codec_openssl._chunks.Opener", sizeof(Opener), 0, Py_TPFLAGS_DEFAULT, opener_slots};

/* ---- the module */

static int fill(PyObject *module) {
    PyObject *sealer = PyType_FromSpec(&sealer_spec), *opener = PyType_FromSpec(&opener_spec);
    int bad = !sealer || !opener || PyModule_AddObjectRef(module, "Sealer", sealer) || PyModule_AddObjectRef(module, "Opener", opener);
    Py_XDECREF(sealer);
    Py_XDECREF(opener);
    return -bad;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, fill}, {0, NULL}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_chunks", NULL, 0, NULL, slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__chunks(void) {
    return PyModuleDef_Init(&definition);
}
