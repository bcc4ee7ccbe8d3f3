//! "Did you mean": the nearest of some names.

/// The candidate nearest to `word`, if one is near enough to be meant.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let limit = (word.chars().count().max(3) + 1) / 3;
    candidates
        .into_iter()
        .map(|name| (strsim::osa_distance(&lower, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= limit.max(1) && *distance < name.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// `a, b, c`, cut after twelve with a count of the rest.
#[must_use]
pub fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    match names.len() {
        0 => "none".to_owned(),
        count if count > 12 => format!("{} and {} more", names[..12].join(", "), count - 12),
        _ => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        assert_eq!(nearest("akc", ["name", "ack", "to"]), Some("ack"));
        assert_eq!(nearest("kepe", ["bus", "keep"]), Some("keep"));
        assert_eq!(nearest("zzz", ["ack", "to"]), None);
    }
}
