//! Frames: any plaintext, and what the core writes of what it reads.

use crate::layouts::frame::{Begin, Frame, FrameWriter, HEADER_LEN, begin_len};
use crate::layouts::reader::Reader;
use crate::layouts::stream::StreamFrame;
use crate::transparent::HASH;

/// Reads `data` as the plaintext of a record, frame by frame to the first that is none. Each frame has one form: the
/// core writes it as it came.
pub(crate) fn run(data: &[u8]) {
    let mut reader = Reader::new(data);
    while !reader.is_empty() {
        let before = reader.rest();
        let Ok(frame) = Frame::parse(&mut reader) else { return };
        let came = &before[..before.len() - reader.rest().len()];
        assert!(came.len() >= HEADER_LEN, "a frame of {} bytes", came.len());
        if let Some(written) = write(&frame) {
            assert_eq!(written, came, "{frame:?}");
        }
    }
}

/// The bytes of a frame; `None` if it has no form of its own.
fn write(frame: &Frame<'_>) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut writer = FrameWriter::new(&mut out);
    match *frame {
        Frame::Status([1]) => writer.status_alive(),
        Frame::Status([status @ (0 | 3), high, low, digest @ ..]) if digest.len() == HASH.len() => {
            let version = u16::from_be_bytes([*high, *low]);
            writer.status_accept(version, digest.try_into().ok()?, *status == 3);
        }
        Frame::Status([2, refusal @ ..]) => writer.status_refuse(|out| out.extend_from_slice(refusal)),
        Frame::AliveReply { go_on } => writer.alive_reply(go_on),
        Frame::Begin { lane, begin, total, body } => {
            assert!(total.is_none_or(|total| total > body.len() as u64), "nothing is left to come");
            if let Begin::Send { service, .. } | Begin::Call { service, .. } = begin {
                assert!(service.len() <= 255, "a service name of {} bytes", service.len());
            }
            writer.begin(lane, begin, total, |out| out.extend_from_slice(body));
            assert_eq!(out.len(), begin_len(&begin, total) + body.len());
        }
        Frame::Error { lane, id, code, detail } => {
            writer.error(lane, id, code, |out| out.extend_from_slice(detail));
        }
        Frame::Cancel { id } => writer.cancel(id),
        Frame::Data { lane, more, body } => writer.data(lane, more, |out| out.extend_from_slice(body)),
        Frame::Abandon { lane } => writer.abandon(lane),
        Frame::Credit { budget, bytes } => writer.credit(budget, bytes),
        Frame::Stream { id, frame } => match frame {
            StreamFrame::Open { name, data, fin } => {
                writer.stream_open(id, name, fin, |out| out.extend_from_slice(data));
            }
            StreamFrame::Data { data, fin } => writer.stream_data(id, fin, |out| out.extend_from_slice(data)),
            StreamFrame::Reset { code } => writer.stream_reset(id, code),
            StreamFrame::Credit { bytes } => writer.stream_credit(id, bytes),
            StreamFrame::Stop { code } => writer.stream_stop(id, code),
        },
        Frame::Ping(nonce) => writer.ping(nonce),
        Frame::Pong(nonce) => writer.pong(nonce),
        Frame::Advert(advert) => writer.advert(advert),
        Frame::AdvertAck { version } => writer.advert_ack(version),
        Frame::Permanence(kept) => writer.permanence(kept),
        Frame::Ready => writer.ready(),
        Frame::Rekey { request } => writer.rekey(request),
        Frame::Goodbye { code, detail } => writer.goodbye(code, detail),
        Frame::Close(reason) => writer.close(|out| out.extend_from_slice(reason)),
        // What stands in it is anything, for a later version to know, or for the link to refuse.
        Frame::Pad | Frame::Skipped | Frame::Status(_) => return None,
    }
    Some(out)
}
