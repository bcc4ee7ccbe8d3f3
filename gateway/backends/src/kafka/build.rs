//! A Kafka backend from its configuration.
use super::{
    Kafka, KafkaSettings, Mode, Sasl, Tls,
    config::{KafkaConfig, KafkaMode},
    record::Recipe,
    topic::TopicRule,
};
use crate::{Backend, BuildContext, Plugin, config::BackendConfig};
use schemas::{AttributeFault, Event, EventView};
use std::sync::Arc;

/// Kafka's default of `max.message.bytes`: what is assumed of a topic that was not asked.
const RECORD_BYTES_DEFAULT: usize = 1_048_588;

impl KafkaConfig {
    fn recipe(&self) -> Recipe {
        let mode = match self.mode {
            KafkaMode::Binary => Mode::Binary,
            KafkaMode::Structured => Mode::Structured,
        };
        Recipe { topic: TopicRule::new(&self.topic, &self.topics_allowed), key: self.key.clone(), mode, backend: 0 }
    }
}

impl Plugin for KafkaConfig {
    fn common(&self) -> &BackendConfig {
        &self.common
    }

    fn build(&self, cx: &BuildContext<'_>) -> Result<Arc<dyn Backend>, String> {
        let brokers = self.brokers.iter().map(ToString::to_string).collect();
        let mut settings = KafkaSettings::new(brokers, self.topic.clone());
        cx.name.clone_into(&mut settings.name);
        settings.topics_allowed.clone_from(&self.topics_allowed);
        settings.key.clone_from(&self.key);
        settings.mode = match self.mode {
            KafkaMode::Binary => Mode::Binary,
            KafkaMode::Structured => Mode::Structured,
        };
        settings.message_max = cx.message_max;
        settings.strict = self.strict;
        settings.compression = self.compression.word();
        settings.client_id = format!("anygate-{}", cx.name);
        if let Some(sasl) = &self.sasl {
            let password = sasl.password.read(cx.folder, cx.env)?;
            settings.sasl = Some(Sasl { mechanism: sasl.mechanism.word(), username: sasl.username.clone(), password });
        }
        if let Some(tls) = &self.tls {
            let path = |path: &Option<String>| path.as_ref().map(|path| cx.path(path).display().to_string());
            settings.tls =
                Some(Tls { ca: path(&tls.ca), cert: path(&tls.cert), key: path(&tls.key), check_hostname: true });
        }
        settings.properties = self.properties.iter().map(|(name, value)| (name.clone(), value.0.clone())).collect();
        Ok(Arc::new(Kafka::start(settings)?))
    }

    fn accepts(&self, event: &EventView<'_>) -> Result<(), AttributeFault> {
        self.recipe().check(event, RECORD_BYTES_DEFAULT)
    }

    fn preview(&self, event: &Event) -> Vec<(&'static str, String)> {
        let recipe = self.recipe();
        let topic = recipe.topic.of(&event.view()).map_or_else(|fault| fault.to_string(), std::borrow::Cow::into_owned);
        let mode = match self.mode {
            KafkaMode::Binary => "binary",
            KafkaMode::Structured => "structured",
        };
        vec![("topic", topic), ("key", recipe.key(event).into_owned()), ("mode", mode.to_owned())]
    }
}
