//! What a node takes of byte streams.

use crate::hello::{HelloError, StreamOffer};

/// How many byte streams each link has at most, and how much of them it holds.
///
/// What a link holds of streams is bounded by these numbers, whatever its peer sends:
/// [`most_received`](Self::most_received) bytes that came in, and one
/// [`send_buffer`](crate::ConfigBuilder::send_buffer) of bytes that wait to go out, in at most twice the memory. A
/// stream itself takes about half a KiB, and keeps up to 1 KiB of empty buffer in each direction until its link is
/// idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// The streams that the peer may have open at a time, and those that this side has open at a time: each of the
    /// two has its own count. A stream beyond it is refused. 0 is no streams at all, in either direction. Default:
    /// 1024.
    pub max_open: u32,
    /// The bytes that the peer may send on a stream before the application has read any: at least 1. Default: 16
    /// KiB.
    pub window: u32,
    /// What the window of one stream grows to, doubling, while the application reads as fast as bytes come. At
    /// least `window`. Default: 1 MiB.
    pub largest_window: u32,
    /// The bytes by which the windows of all streams of a link have grown at a time, at most. Default: 8 MiB.
    pub growth: u32,
    /// The bytes of one stream that wait to be sealed, at most: at least 1. Default: 64 KiB.
    pub send_buffer: u32,
}

impl StreamLimits {
    /// No streams.
    pub const NONE: Self = Self { max_open: 0, window: 1, largest_window: 1, growth: 0, send_buffer: 1 };

    /// The most bytes that one link holds of what came in on its streams and was not read: a window for each stream
    /// that either side may have open, and what windows grow by. With the defaults 40 MiB, of which a peer whose
    /// streams nobody reads gets 16.
    pub const fn most_received(&self) -> u64 {
        2 * self.max_open as u64 * self.window as u64 + self.growth as u64
    }

    /// What the hello says of it.
    pub(super) fn offer(&self) -> Option<StreamOffer> {
        (self.max_open > 0).then_some(StreamOffer { max_streams: self.max_open, window: self.window })
    }

    pub(super) fn check(&self) -> Result<(), HelloError> {
        let most = u32::MAX.into();
        let fields = [
            ("streams.window", self.window, 1),
            ("streams.largest_window", self.largest_window, self.window.into()),
            ("streams.send_buffer", self.send_buffer, 1),
        ];
        match fields.into_iter().find(|(_, value, least)| u64::from(*value) < *least) {
            Some((limit, value, least)) => Err(HelloError::Limit { limit, value: value.into(), least, most }),
            None => Ok(()),
        }
    }
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self {
            max_open: 1024,
            window: 16 << 10,
            largest_window: 1 << 20,
            growth: 8 << 20,
            send_buffer: 64 << 10,
        }
    }
}
