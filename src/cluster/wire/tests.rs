//! What the stock adapters and emitters write is read, what we write is what they write, and nothing else does harm.
