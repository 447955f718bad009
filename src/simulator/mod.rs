//! A Slack to develop and test against: Web API methods, sockets, retries, faults, and the record tests judge by.
