//! From the socket to the handler.
