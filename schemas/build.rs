//! Generates the failure words from `words.json`, the one place where they are written down.
use std::{env, fmt::Write as _, fs, path::Path};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=words.json");
    let words: Vec<serde_json::Value> = serde_json::from_str(&fs::read_to_string("words.json")?)?;
    let text = |word: &serde_json::Value, key: &str| -> String {
        word[key].as_str().unwrap_or_else(|| panic!("words.json: {} lacks the text {key:?}", word["word"])).to_owned()
    };
    let mut variants = String::new();
    let mut names = String::new();
    let mut entries = String::new();
    for word in &words {
        let name = text(word, "word");
        let variant: String = name.split('_').map(|part| part[..1].to_uppercase() + &part[1..]).collect();
        let title = text(word, "title");
        writeln!(variants, "    /// {title}.\n    {variant},")?;
        writeln!(names, "    Word::{variant},")?;
        let mqtt5 = match text(word, "mqtt5").as_str() {
            "none" => "None".to_owned(),
            code => format!("Some({code})"),
        };
        writeln!(
            entries,
            "    Entry {{ word: Word::{variant}, name: {name:?}, title: {title:?}, http: {}, mqtt5: {mqtt5}, retryable: {}, mqtt5_text: {:?}, amqp091: {:?}, websocket: {:?}, then: {:?}, cause: {:?}, todo: {:?} }},",
            word["http"],
            word["retryable"],
            text(word, "mqtt5_text"),
            text(word, "amqp091"),
            text(word, "websocket"),
            text(word, "then"),
            text(word, "cause"),
            text(word, "todo"),
        )?;
    }
    let source = format!(
        "/// One word for each way in which a message can fail (or be settled without being kept).\n\
         #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]\n#[repr(u8)]\npub enum Word {{\n{variants}}}\n\n\
         /// All words, in the order of the table.\npub const WORDS: [Word; {count}] = [\n{names}];\n\n\
         pub(crate) const ENTRIES: [Entry; {count}] = [\n{entries}];\n",
        count = words.len()
    );
    fs::write(Path::new(&env::var("OUT_DIR")?).join("words.rs"), source)?;
    Ok(())
}
