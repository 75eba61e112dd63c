//! Metrics in the OpenMetrics text format. The shards count; they are asked when somebody scrapes.

use super::AdminState;
use crate::history::Watch;
use crate::webhooks;
use axum::body::Body;
use axum::response::Response;
use core::fmt::Error;
use core::sync::atomic::{AtomicBool, Ordering};
use http::{HeaderValue, header};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use std::sync::Arc;
use switchboard_core::Time;
use switchboard_net::HubHandle;
use switchboard_session::DIALECTS;
use switchboard_store::{StoreState, SyncTimes};
use switchboard_webhooks::{Breaker, WebhookStats};

#[derive(Clone, Debug)]
pub(super) struct Metrics(Arc<Registry>);

#[derive(Debug)]
struct Shards {
    hub: HubHandle,
    ready: Arc<AtomicBool>,
    started: Time,
}

impl Metrics {
    pub(super) fn new(state: &AdminState) -> Self {
        let mut registry = Registry::with_prefix("switchboard");
        if let Some(history) = state.history.clone() {
            registry.register_collector(Box::new(History(history)));
        }
        registry.register_collector(Box::new(Webhooks(state.webhooks.clone())));
        let (hub, ready, started) = (state.hub.clone(), Arc::clone(&state.ready), state.started);
        registry.register_collector(Box::new(Shards { hub, ready, started }));
        Self(Arc::new(registry))
    }

    pub(super) fn respond(&self) -> Response {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.0);
        let mut response = Response::new(Body::from(text));
        let content_type = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        response
    }
}

impl Collector for Shards {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let stats = self.hub.stats();
        let total = &stats.total;
        let gauges = [
            (
                "ready",
                "Whether the server takes clients (1) or is shutting down (0)",
                u64::from(self.ready.load(Ordering::Relaxed)),
            ),
            ("start_time_seconds", "When the server started, in seconds since 1970", self.started.as_secs()),
            ("shards", "Event loops", stats.shards.len() as u64),
            ("connections", "WebSocket connections", total.connections),
            ("connections_http2", "WebSocket connections over HTTP/2", total.connections_http2),
            ("streams", "Streams of events or lines over plain HTTP", total.streams),
            ("channels", "Channels with subscribers", total.channels),
            ("subscriptions", "Subscriptions", total.subscriptions),
        ];
        for (name, help, value) in gauges {
            gauge(&mut encoder, name, help, value)?;
        }
        let counters = [
            ("connections_accepted", "TCP connections accepted", total.accepted),
            ("connections_refused", "Connections refused because there were too many", total.refused_full),
            ("upgrades_refused", "WebSocket requests refused", total.refused_upgrades),
            ("reset_floods", "HTTP/2 connections ended because the client reset too many streams", total.reset_floods),
            ("messages_received", "Messages from clients", total.messages_in),
            ("messages_sent", "Publications queued for subscribers, each counted for each of them", total.messages_out),
            ("publications", "Publications accepted", total.publications),
            ("received_bytes", "Bytes read from WebSockets", total.bytes_in),
            ("sent_bytes", "Bytes written to WebSockets", total.bytes_out),
            ("compressed_messages", "Messages compressed, each once however many clients got it", total.compressed),
            (
                "compression_input_bytes",
                "Bytes of messages for clients with compression, each message once however many clients got it",
                total.compressed_bytes_before,
            ),
            ("compression_output_bytes", "What became of them, with frame headers", total.compressed_bytes_after),
            ("requests_refused", "Requests of clients that were refused", total.rejects),
            ("protocol_errors", "Connections whose client broke the WebSocket protocol", total.protocol_errors),
            ("disconnects_slow", "Clients given up because they read too slowly", total.slow_consumers),
            (
                "losses",
                "Times that publications were lost inside the server and their subscribers were told: a fault of the server",
                total.losses,
            ),
            ("disconnects_silent", "Clients given up because they were silent for too long", total.unresponsive),
        ];
        for (name, help, value) in counters {
            counter(&mut encoder, name, help, value)?;
        }
        let kind = prometheus_client::metrics::MetricType::Gauge;
        let mut sessions = encoder.encode_descriptor("sessions", "Sessions by dialect", None, kind)?;
        for (dialect, count) in DIALECTS.iter().zip(total.sessions) {
            ConstGauge::new(count).encode(sessions.encode_family(&[("dialect", *dialect)])?)?;
        }
        Ok(())
    }
}

/// The history on disk.
#[derive(Debug)]
struct History(Watch);

impl Collector for History {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let stats = self.0.stats();
        let gauges = [
            (
                "history_writable",
                "Whether the history takes publications (1) or its disk is full or has failed (0)",
                u64::from(stats.state == StoreState::Writable),
            ),
            ("history_segments", "Files of the history's journal", stats.segments),
            ("history_disk_bytes", "Bytes of these files", stats.bytes),
            ("history_kept_bytes", "Bytes in them that are still needed", stats.bytes_live),
            ("history_channels", "Channels that the journal knows", stats.channels),
        ];
        for (name, help, value) in gauges {
            gauge(&mut encoder, name, help, value)?;
        }
        let counters = [
            ("history_commits", "Batches written to the journal", stats.commits),
            ("history_requests", "Requests of brokers in them: divided by the batches, their size", stats.requests),
            ("history_refused", "Requests that the journal refused", stats.refused),
            ("history_written_bytes", "Bytes written to the journal", stats.bytes_written),
            ("history_unreadable", "Damaged places found while segments were written anew", stats.unreadable),
        ];
        for (name, help, value) in counters {
            counter(&mut encoder, name, help, value)?;
        }
        let kind = prometheus_client::metrics::MetricType::Histogram;
        let help = "How long the disk took to sync the journal";
        let mut histogram = encoder.encode_descriptor("history_sync_seconds", help, None, kind)?;
        #[allow(clippy::cast_precision_loss, reason = "a duration for people")]
        let seconds = |micros: u64| micros as f64 / 1e6;
        let bounds = SyncTimes::BOUNDS.iter().map(|bound| seconds(*bound)).chain([f64::MAX]);
        let buckets: Vec<(f64, u64)> = bounds.zip(self.0.syncs.counts()).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        histogram.encode_histogram::<prometheus_client::encoding::NoLabelSet>(
            seconds(self.0.syncs.micros()),
            count,
            &buckets,
            None,
        )
    }
}

/// The webhooks. They are named by their application and their place in the configuration: a URL may have a secret in it.
#[derive(Debug)]
struct Webhooks(webhooks::Watch);

impl Collector for Webhooks {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let figures = self.0.figures();
        counter(
            &mut encoder,
            "webhook_notices_lost",
            "Events that found no room on their way to the queues",
            figures.lost,
        )?;
        if let Some(writable) = figures.writable {
            let help = "Whether the queues are written down (1) or their disk is full or has failed (0)";
            gauge(&mut encoder, "webhook_queue_writable", help, u64::from(writable))?;
        }
        type Figure = fn(&WebhookStats) -> u64;
        let counters: [(&str, &str, Figure); 5] = [
            ("webhook_events_delivered", "Events that a webhook took", |stats| stats.delivered),
            ("webhook_requests_failed", "Requests that a webhook did not take, to be made again", |stats| stats.failed),
            ("webhook_events_refused", "Events that a webhook refused for good", |stats| stats.refused),
            ("webhook_events_dropped", "Events that found no room in their queue, or made it", |stats| stats.dropped),
            ("webhook_events_expired", "Events that waited too long", |stats| stats.expired),
        ];
        let gauges: [(&str, &str, Figure); 2] = [
            ("webhook_queue_events", "Events that wait", |stats| stats.queue_events),
            ("webhook_queue_bytes", "What they take", |stats| stats.queue_bytes),
        ];
        let counters = counters.into_iter().map(|figure| (MetricType::Counter, figure));
        let gauges = gauges.into_iter().map(|figure| (MetricType::Gauge, figure));
        for (kind, (name, help, figure)) in counters.chain(gauges) {
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for one in &figures.webhooks {
                let labels = one.labels();
                let place = family.encode_family(&labels)?;
                match kind {
                    MetricType::Counter => ConstCounter::new(figure(&one.stats)).encode(place)?,
                    _ => ConstGauge::new(figure(&one.stats)).encode(place)?,
                }
            }
        }
        let help = "Whether a webhook is told (0), tried (1) or left alone (2)";
        let mut family = encoder.encode_descriptor("webhook_breaker", help, None, MetricType::Gauge)?;
        for one in &figures.webhooks {
            let state: u64 = match one.breaker {
                Breaker::Closed => 0,
                Breaker::HalfOpen => 1,
                Breaker::Open => 2,
            };
            ConstGauge::new(state).encode(family.encode_family(&one.labels())?)?;
        }
        Ok(())
    }
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> Result<(), Error> {
    let kind = prometheus_client::metrics::MetricType::Counter;
    ConstCounter::new(value).encode(encoder.encode_descriptor(name, help, None, kind)?)
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> Result<(), Error> {
    let kind = prometheus_client::metrics::MetricType::Gauge;
    ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, kind)?)
}
