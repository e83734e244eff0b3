//! Integration tests: everything real, in one binary, so that all share one broker.

mod bad_input;
mod cameras;
mod capture;
mod check_command;
mod closed_pipes;
mod crash;
mod documents;
mod exposition;
mod frozen_broker;
mod harness;
mod interop;
mod kafka_client;
mod migration;
mod mutual_tls;
mod players;
mod records;
mod reload;
mod run_command;
mod siblings;
mod sink;
mod support;
mod terminal;
mod verify_command;
mod verify_past;
mod volumes;
