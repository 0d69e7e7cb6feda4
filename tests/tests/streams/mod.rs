//! Helpers of the stream tests, and their parts.

mod class;
mod fingerprint;
mod http;
mod http2;
mod record;
mod websocket;

use sensor_common::connection::Connection;
use sensor_tests::executor::conversation::Conversation;
use sensor_tests::executor::host::Host;
use sensor_tests::executor::kernel::Kernel;
use sensor_tests::executor::{Executor, World};
use sensor_tests::lab::address::exit;
use sensor_tests::require::{Tier, require};

/// The kernel's executor, where it can run.
fn kernel() -> Option<Kernel> {
    require(Tier::Bpf).then(|| Kernel::load().expect("the program loads"))
}

fn plain() -> Conversation {
    Conversation::plain(exit(1))
}

fn tls() -> Conversation {
    Conversation::tls(exit(1))
}

/// The connection as it stands when all was sent.
fn outcome(executor: &mut dyn Executor, conversation: &Conversation) -> Connection {
    executor.install(&World::default());
    conversation.run(executor);
    let seen = executor.observe();
    *seen.connection().expect("one connection")
}

fn on_host(conversation: &Conversation) -> Connection {
    outcome(&mut Host::new(), conversation)
}

/// Cuts a stream of `length` bytes at up to `most` random places.
fn cuts(random: &mut fastrand::Rng, length: usize, most: usize) -> Vec<usize> {
    let mut cuts: Vec<usize> = (0..random.usize(1..=most)).map(|_| random.usize(1..length.max(2))).collect();
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}
