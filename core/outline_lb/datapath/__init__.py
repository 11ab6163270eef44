"""The way of a byte.

::

    application ──► FRONTEND ──► BALANCER ──► UPSTREAM ──► TUNNEL (cipher) ──► TRANSPORT ──► server

* `frontend`: speaks the application's protocol, and knows nothing but a dialer.
* `carrier`: dials for the flow and joins the two streams (`relay`).
* `balancer`: a dialer that asks a policy which upstream, and takes the next one when it fails.
* `upstream`: one access point: a name, its health, and the dialer made of what the configuration says.
* `tunnel`: an endpoint and a `cipher`, which together make a dialer.
* `transport`: opens streams to a fixed server, or accepts them.
"""
