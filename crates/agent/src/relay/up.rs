//! The controller's side.

use std::sync::Arc;

use prost::Message;

use super::kind::{Flight, Item, Source};
use super::{Link, Phase, Relay, Shelf};
use crate::wire::{Label, Request, Response};

impl Relay {
    pub(super) fn connected(&mut self) {
        self.epoch += 1;
        self.link = Link::new(Phase::Up, self.now);
        for kind in &mut self.kinds {
            kind.attached = false;
        }
    }

    pub(super) fn lost(&mut self) {
        self.link = Link::new(Phase::Lost, self.now);
        for kind in &mut self.kinds {
            kind.attached = false;
        }
        self.hosts_due = true;
    }

    /// Asks for a type on the present stream, once Envoy has settled what it was sent before.
    pub(super) fn attach(&mut self, at: usize, store: &dyn Shelf) {
        let kind = &mut self.kinds[at];
        let patient = !kind.flights.is_empty() && self.now < self.link.since + self.timing.settle;
        if !self.link.up() || kind.attached || patient {
            return;
        }
        let Some(request) = kind.introduction(store) else { return };
        kind.attached = true;
        self.tell(request);
    }

    /// Passes on what Envoy says, as far as this stream's controller is concerned.
    pub(super) fn forward(&mut self, at: usize, request: &Request, nonce: Option<String>) {
        if !self.kinds[at].attached {
            return;
        }
        let error_detail = request.error_detail.clone().filter(|_| nonce.is_some());
        let changes = !request.subscribe.is_empty() || !request.unsubscribe.is_empty();
        if nonce.is_some() || changes {
            self.tell(Request {
                type_url: request.type_url.clone(),
                subscribe: request.subscribe.clone(),
                unsubscribe: request.unsubscribe.clone(),
                response_nonce: nonce.unwrap_or_default(),
                error_detail,
                ..Request::default()
            });
        }
    }

    fn tell(&mut self, mut request: Request) {
        if !self.link.introduced {
            request.node = self.node.clone();
            self.link.introduced = true;
        }
        self.out.to_controller.push(request);
    }

    pub(super) fn answered(&mut self, response: Response) {
        let at = self.kinds.iter().position(|kind| kind.attached && kind.url == response.type_url);
        let (Some(at), true) = (at, self.link.up()) else {
            tracing::debug!(type_url = response.type_url, "an answer to nothing");
            return;
        };
        self.link.spoke = true;
        self.link.silent = false;
        let source = Source::Controller { epoch: self.epoch, nonce: response.nonce.clone() };
        let nonce = format!("{}.{}", self.epoch, response.nonce);
        let items = response.resources.iter().filter_map(|body| {
            let label = Label::decode(body.clone()).ok()?;
            Some(Item { name: label.name.into(), version: label.version.into(), body: body.clone() })
        });
        let items = items.collect();
        let removed = response.removed_resources.iter().map(|name| Arc::from(name.as_str())).collect();
        self.send(at, Flight { nonce, source, items, removed }, response);
    }
}
