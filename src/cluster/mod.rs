//! Many nodes as one: what this node tells its peers, and hears from them, over Redis.

pub mod redis;
