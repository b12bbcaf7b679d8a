//! What the file backend promises beyond the contract, one file per concern: real files, real
//! processes.

mod hot;
mod smoke;
