//! Requests for topics (to be written).
