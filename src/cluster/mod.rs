//! The same operations on every node: one Socket.IO cluster over Redis, together with Node servers.
//!
//! [`wire`] is what the cluster's members say to each other.

pub mod wire;
