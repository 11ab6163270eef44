"""The words everybody speaks: addresses, flows, streams, dialers, secrets, errors. No sockets, no plugins, no configuration."""
