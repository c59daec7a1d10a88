use super::Node;
use super::message::LinkId;
use crate::hello::Hello;
use crate::identity::NodeId;
impl Node {
    pub(super) fn exchange_adverts(&mut self, _peer: NodeId, _link: LinkId, _hello: &Hello) {}
    pub(super) fn on_advert(&mut self, _link: LinkId, _bytes: &[u8]) {}
    pub(super) fn on_advert_acked(&mut self, _link: LinkId, _version: u64) {}
}
