//! Lines of another process, or of standard input, without a runtime: reading them blocks.

use std::io::{BufRead, BufReader, Read, Result};
use std::thread;

use futures::channel::mpsc;
use futures::executor::block_on;
use futures::sink::SinkExt;

/// Lines that wait to be taken: beyond that, whoever writes them waits.
const WAITING: usize = 16;

/// The lines of `source`, read by a thread. It goes on until they end, or until it reads one for nobody.
pub(crate) fn lines(source: impl Read + Send + 'static) -> mpsc::Receiver<Result<String>> {
    let (mut read, lines) = mpsc::channel(WAITING);
    thread::spawn(move || {
        for line in BufReader::new(source).lines() {
            let failed = line.is_err();
            if block_on(read.send(line)).is_err() || failed {
                return;
            }
        }
    });
    lines
}
