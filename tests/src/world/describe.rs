//! How hosts stand with each other, for people.

use std::fmt::Write;

use handclasp::node::adverts::Advert;

use super::World;
use super::host::Host;

impl World {
    /// How two hosts stand with each other, for people.
    pub fn describe(&self, one: usize, other: usize) -> String {
        let mut text = format!("\n  hosts {one} and {other}: agree {:?}", self.agree(one, other));
        for (host, peer) in [(one, other), (other, one)] {
            let side = &self.hosts[host];
            let status = side.node.as_ref().and_then(|node| node.status(self.id(peer)));
            let (trusting, permanent) = (self.is_trusting(host, peer), self.is_permanent(host, peer));
            let advert = |host: &Host, id| host.node.as_ref()?.advert_of(id).map(Advert::version);
            let adverts = (
                advert(&self.hosts[peer], self.id(host)),
                side.node.as_ref().and_then(|node| node.advert()).map(Advert::version),
            );
            let state = status
                .as_ref()
                .map(|status| (&status.state, status.queued, status.peer_is_permanent, &status.last_error));
            let _ = write!(
                text,
                "\n    {host}: trusts {trusting}, permanent {permanent}, advert {adverts:?}, {state:?}"
            );
            for (id, driven) in &side.links {
                let ends = &self.conns[driven.conn].ends;
                if ends[1 - driven.side].host == peer {
                    let (phase, queued) = (driven.link.phase(), driven.link.queued());
                    let _ = write!(
                        text,
                        "\n       link {id} by connection {} side {}: {phase}, {queued} bytes, {} calls",
                        driven.conn,
                        driven.side,
                        driven.calls.len()
                    );
                }
            }
        }
        text
    }
}
