//! A model of the exactly-once protocol. See README.md.

pub mod bugs;
mod ending;
pub mod facts;
pub mod faults;
pub mod fold;
pub mod history;
pub mod kafka;
mod moves;
pub mod properties;
pub mod protocol;
mod recorded;
pub mod replay;
mod requests;
pub mod scheduler;
pub mod settle;
pub mod slot;
pub mod sorted;
pub mod store;
pub mod world;
