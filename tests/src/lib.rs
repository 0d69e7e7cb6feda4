//! The lab: namespaces, a model server, clients, relays and the frame builder that the tests and the demo share.
