//! What one of each thing costs in memory that a link keeps many of. [`WorstCase`](crate::WorstCase) counts with it.

use bytes::Bytes;

use super::Link;
use super::calls::{Pending, Serving};
use super::handshake::Handshake;
use super::inbox::{Notice, Partial};
use super::message::Envelope;
use super::queue::Kind;
use super::requests::Request;
use super::session::Session;
use super::state::{Drain, Ending};
use super::streams::Streams;
use crate::signed::SignedMessage;
use crate::wire::frame::Lane;

/// A message or call that waits for the application, without its bytes.
pub(crate) const REQUEST: usize = size_of::<Request>();

/// An answer, or another word to the owner of the link, without its bytes.
pub(crate) const NOTICE: usize = size_of::<Notice>();

/// A message or answer that waits to be sealed, without its bytes: what it is, two lengths, and a body of its own.
pub(crate) const QUEUED: usize = size_of::<Kind>() + 2 * size_of::<usize>() + size_of::<Option<Bytes>>();

/// A message that has expired, without its bytes.
pub(crate) const EXPIRED: usize = size_of::<Envelope>();

/// A signed message that waits for the application, beside what any message takes.
pub(crate) const SIGNED: usize = size_of::<SignedMessage>();

/// A call in each direction, and the word that the one of this side's was cancelled.
pub(crate) const CALL: usize = size_of::<Pending>() + size_of::<Serving>() + size_of::<u64>();

/// A stream, without its buffers and its name.
pub(crate) const STREAM: usize = Streams::SIZE_OF_ONE;

/// What a link has one of.
pub(crate) const LINK: usize = size_of::<Link>()
    + size_of::<Session>()
    + size_of::<Handshake>()
    + size_of::<Drain>()
    + size_of::<Ending>()
    + size_of::<Streams>()
    + Lane::COUNT * size_of::<Partial>();
