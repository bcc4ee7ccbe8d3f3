//! How a connection learns that it has to end: the gateway stops, or the connection has reached its age.
use std::{
    future::pending,
    hash::{BuildHasher, RandomState},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// Why a connection has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The gateway, or the listener, stops.
    Stopping,
    /// This connection has reached its age; the next one is welcome.
    Age,
}

/// Tells every connection that it has to end.
#[derive(Clone, Debug)]
pub struct Shutdown {
    stopping: watch::Receiver<bool>,
    /// When this connection is old.
    end: Option<Instant>,
}

impl Shutdown {
    /// A switch and its signal.
    pub fn channel() -> (watch::Sender<bool>, Shutdown) {
        let (sender, stopping) = watch::channel(false);
        (sender, Shutdown { stopping, end: None })
    }

    /// The same signal for one connection, which fires at this age too, give or take a tenth.
    pub fn at_age(self, age: Duration) -> Self {
        Shutdown { end: Some(Instant::now() + jittered(age)), ..self }
    }

    /// Whether it was fired.
    pub fn is_fired(&self) -> bool {
        *self.stopping.borrow() || self.end.is_some_and(|end| Instant::now() >= end)
    }

    /// Whether it was fired since this signal was cloned or last waited for: one atomic load unless there is an age, for whoever
    /// waits already and is woken often for other reasons.
    pub fn has_news(&self) -> bool {
        self.stopping.has_changed().unwrap_or(true) || self.end.is_some_and(|end| Instant::now() >= end)
    }

    /// Waits until it is fired. Cancel safe.
    pub async fn fired(&mut self) {
        let _either = self.cause().await;
    }

    /// Waits until it is fired, and says why. Cancel safe.
    pub async fn cause(&mut self) -> Cause {
        let old = async {
            match self.end {
                Some(end) => sleep_until(end).await,
                None => pending().await,
            }
        };
        tokio::select! {
            // Where both are true, the end of all is what the peer has to know.
            biased;
            // An error means that the switch is gone, which is the end as well.
            _gone = self.stopping.wait_for(|fired| *fired) => Cause::Stopping,
            () = old => Cause::Age,
        }
    }
}

/// The time, give or take up to a tenth, so that what began together does not end together.
pub fn jittered(time: Duration) -> Duration {
    // Every hasher of the standard library starts from a random key.
    let random = RandomState::new().hash_one(0u8) % 2001;
    let thousandths = u32::try_from(random).unwrap_or(0);
    time.mul_f64(0.9 + f64::from(thousandths) / 10_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_a_tenth() {
        let times: Vec<Duration> = (0..200).map(|_| jittered(Duration::from_secs(100))).collect();
        assert!(times.iter().all(|time| (90_000..=110_001).contains(&time.as_millis())), "{times:?}");
        assert!(times.iter().any(|time| *time != times[0]));
    }

    #[tokio::test(start_paused = true)]
    async fn age_fires_for_one_connection_only() {
        let (switch, shutdown) = Shutdown::channel();
        let mut one = shutdown.clone().at_age(Duration::from_secs(10));
        let began = Instant::now();
        assert!(!one.is_fired());
        assert_eq!(one.cause().await, Cause::Age);
        assert!((9..=11).contains(&began.elapsed().as_secs()));
        assert!(one.is_fired() && !shutdown.is_fired());
        switch.send_replace(true);
        assert_eq!(one.cause().await, Cause::Stopping, "the end of all is the more important news");
    }
}
