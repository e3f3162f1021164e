//! Reads a contract that stands beside this file, and prints its public facts. It needs no data.
#![allow(clippy::print_stdout, reason = "a program that prints")]

use loda_contract::{Contract, ContractError};

const TEXT: &str = include_str!("library_stock.toml");

fn main() -> Result<(), ContractError> {
    let contract = Contract::parse(TEXT, "library_stock.toml")?;
    println!("{} ({}): {:?}", contract.dataset, contract.title, contract.protection);
    for unit in &contract.units {
        println!("  counts each {}", unit.domain);
    }
    for column in &contract.columns {
        println!("  {:<12} {:?}", column.name, column.role);
    }
    Ok(())
}
