//! `anygate errors`: the failure words, and what each sender sees.
use super::{
    Exit,
    client::{Style, say},
};
use clap::Args;
use schemas::{WORDS, Word, word::Entry};

/// Explain a failure word: what it means, what each sender sees, and what to do. Without a word: all of them.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  anygate errors\n  anygate errors schema_invalid\n  anygate errors --json | jq -r '.word'"
)]
pub struct Errors {
    /// The word, as answers, metrics, logs and dead letters have it
    pub word: Option<String>,
    /// One JSON object per word
    #[arg(long)]
    pub json: bool,
}

impl Errors {
    /// Runs the command.
    pub fn run(self) -> Exit {
        let style = Style::of_stdout();
        let Some(text) = &self.word else {
            for line in if self.json { WORDS.map(|word| json(word.entry())).to_vec() } else { table(style) } {
                if !say(line.as_bytes()) {
                    break;
                }
            }
            return Exit::Ok;
        };
        match text.parse::<Word>() {
            Ok(word) => {
                let page = if self.json { json(word.entry()) } else { page(word.entry(), style) };
                say(page.as_bytes());
                Exit::Ok
            }
            Err(_) => {
                eprintln!("error: {text:?} is no failure word");
                match nearest(text) {
                    Some(word) => eprintln!("  = help: did you mean {word}? `anygate errors` lists all"),
                    None => eprintln!("  = help: `anygate errors` lists all"),
                }
                Exit::Faults
            }
        }
    }
}

/// The word that shares the most letter pairs with the text, if it shares half of them.
fn nearest(text: &str) -> Option<Word> {
    let pairs = |text: &str| text.as_bytes().windows(2).map(<[u8]>::to_vec).collect::<Vec<_>>();
    let own = pairs(&text.to_ascii_lowercase());
    let shared = |word: &Word| pairs(word.as_str()).iter().filter(|pair| own.contains(pair)).count();
    WORDS.into_iter().max_by_key(shared).filter(|word| 2 * shared(word) >= own.len().max(2))
}

fn mqtt(entry: &Entry) -> String {
    entry.mqtt5_text.to_owned()
}

/// All words, one a line.
pub fn table(style: Style) -> Vec<String> {
    let mut lines = vec![style.bold(&format!("{:<20} {:<5} {:<26} {:<7} MEANS", "WORD", "HTTP", "MQTT 5", "AGAIN"))];
    lines.extend(WORDS.iter().map(|word| {
        let entry = word.entry();
        let again = if entry.retryable { "later" } else { "no" };
        format!("{:<20} {:<5} {:<26} {again:<7} {}", entry.name, entry.http, mqtt(entry), entry.title)
    }));
    lines
}

/// One word's page.
pub fn page(entry: &Entry, style: Style) -> String {
    let again =
        if entry.retryable { "the same message may succeed later" } else { "the same message will not succeed" };
    format!(
        "{}: {}\n sender sees  http {} · mqtt 5 {} · ws {} · amqp 0-9-1 {}\n then         {}\n again        {again}\n cause        {}\n what to do   {}\n counted in   anygate_events_refused_total{{error_type=\"{}\"}}",
        style.bold(entry.name),
        entry.title,
        entry.http,
        mqtt(entry),
        entry.websocket,
        entry.amqp091,
        entry.then,
        entry.cause,
        entry.todo,
        entry.name
    )
}

fn json(entry: &Entry) -> String {
    serde_json::json!({
        "word": entry.name, "means": entry.title, "http": entry.http, "mqtt5": entry.mqtt5, "mqtt5_sees": entry.mqtt5_text,
        "websocket_sees": entry.websocket, "amqp091_sees": entry.amqp091, "retryable": entry.retryable, "then": entry.then,
        "cause": entry.cause, "what_to_do": entry.todo,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_has_a_page_and_a_line() {
        let table = table(Style::plain()).join("\n");
        for word in WORDS {
            let page = page(word.entry(), Style::plain());
            assert!(page.starts_with(&format!("{word}: ")), "{page}");
            assert!(table.contains(word.as_str()), "{word}");
            for part in ["sender sees", "then", "cause", "what to do"] {
                assert!(page.contains(part), "{word}: {part}");
            }
        }
    }

    #[test]
    fn mistyped_words_get_a_suggestion() {
        assert_eq!(nearest("schema_invald"), Some(Word::SchemaInvalid));
        assert_eq!(nearest("noroute"), Some(Word::NoRoute));
        assert_eq!(nearest("zzz"), None);
    }
}
