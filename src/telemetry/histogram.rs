//! A histogram whose observations cost two additions, however many come at once: those of an event are made where every
//! microsecond counts, and a batch of acks is one observation made many times.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus::Opts;
use prometheus::core::{Desc, Describer as _, Metric, MetricVec, MetricVecBuilder};
use prometheus::proto;

/// Observations sorted into buckets.
#[derive(Clone, Debug)]
pub struct Histogram(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    labels: Vec<proto::LabelPair>,
    /// The upper bounds of all buckets but the last, which has none.
    bounds: &'static [f64],
    counts: Box<[AtomicU64]>,
    /// In billionths: whole numbers add up in any order.
    sum: AtomicU64,
}

impl Histogram {
    /// Something took this long.
    pub fn took(&self, time: Duration) {
        self.took_each(time, 1);
    }

    /// Each of so many things took this long.
    pub fn took_each(&self, time: Duration, times: usize) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.observe(time.as_secs_f64(), nanos, times as u64);
    }

    /// There were so many.
    pub fn counted(&self, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.observe(f64::from(count), u64::from(count).saturating_mul(BILLION), 1);
    }

    fn observe(&self, value: f64, billionths: u64, times: u64) {
        let at = self.0.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.0.counts.get(at) {
            count.fetch_add(times, Ordering::Relaxed);
            self.0.sum.fetch_add(billionths.saturating_mul(times), Ordering::Relaxed);
        }
    }
}

const BILLION: u64 = 1_000_000_000;

impl Metric for Histogram {
    fn metric(&self) -> proto::Metric {
        let inner = &*self.0;
        let mut sum_so_far = 0;
        let mut counts = inner.counts.iter().map(|count| {
            sum_so_far += count.load(Ordering::Relaxed);
            sum_so_far
        });
        let mut histogram = proto::Histogram::default();
        let buckets = inner.bounds.iter().zip(&mut counts).map(|(bound, count)| {
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(count);
            bucket
        });
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(counts.next().unwrap_or_default());
        let sum = Duration::from_nanos(inner.sum.load(Ordering::Relaxed));
        histogram.set_sample_sum(sum.as_secs_f64());
        let mut metric = proto::Metric::from_label(inner.labels.clone());
        metric.set_histogram(histogram);
        metric
    }
}

/// Makes the histograms of one name.
#[derive(Clone, Debug)]
pub(super) struct Buckets(pub(super) &'static [f64]);

/// The histograms of one name, by their labels' values.
pub(super) type Histograms = MetricVec<Buckets>;

/// The histograms of a name.
pub(super) fn histograms(opts: Opts, buckets: &'static [f64]) -> prometheus::Result<Histograms> {
    MetricVec::create(proto::MetricType::HISTOGRAM, Buckets(buckets), opts)
}

impl MetricVecBuilder for Buckets {
    type M = Histogram;
    type P = Opts;

    fn build<V: AsRef<str>>(&self, opts: &Opts, values: &[V]) -> prometheus::Result<Histogram> {
        let desc: Desc = opts.describe()?;
        let label = |(name, value): (&String, &V)| {
            let mut label = proto::LabelPair::default();
            label.set_name(name.clone());
            label.set_value(value.as_ref().to_owned());
            label
        };
        Ok(Histogram(Arc::new(Inner {
            labels: desc.variable_labels.iter().zip(values).map(label).collect(),
            bounds: self.0,
            counts: (0..=self.0.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        })))
    }
}
