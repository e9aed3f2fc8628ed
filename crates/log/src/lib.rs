//! What is durably known about the progress of a query.
