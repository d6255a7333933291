//! What the guard decides, apart from how it is stored.
//!
//! No I/O, no clock, no randomness: whatever comes from the world is an argument, so every function
//! gives the same answer everywhere and can run inside a model or a deterministic fold. Functions
//! are total: what does not belong is a typed error, never a panic.
#![no_std]

extern crate alloc;

pub mod budget;
pub mod checkpoint;
pub mod claim;
pub mod collect;
pub mod container;
pub mod failure;
pub mod ids;
pub mod keys;
pub mod lifecycle;
pub mod manifest;
pub mod record;
pub mod retry;
pub mod seal;
pub mod tensors;

pub use failure::{FailureClass, classify};
