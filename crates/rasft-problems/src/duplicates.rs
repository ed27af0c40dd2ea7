//! Prompts that are the same but for marks, capitals and spacing. Exact repeats (the same problem id) never get here:
//! the importer drops and counts them.

use crate::words::near_form;
use rasft_types::Problem;
use std::collections::HashMap;

/// A problem whose prompt is nearly that of an earlier one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NearDuplicate {
    /// Index of the problem among those given.
    pub row: usize,
    /// Index of the first problem with that prompt.
    pub first_row: usize,
    /// Id of the problem.
    pub problem_id: String,
    /// Id of the first.
    pub first_problem_id: String,
    /// Whether both have the same answer or tests; if not, one of them is probably wrong.
    pub same_answer: bool,
}

/// Every problem whose normalised prompt ([`near_form`]) an earlier problem has. Linear in the length of the prompts.
pub fn near_duplicates(problems: &[Problem]) -> Vec<NearDuplicate> {
    let mut first: HashMap<blake3::Hash, usize> = HashMap::with_capacity(problems.len());
    let mut found = Vec::new();
    for (row, problem) in problems.iter().enumerate() {
        let first_row = *first.entry(blake3::hash(near_form(&problem.prompt).as_bytes())).or_insert(row);
        if first_row != row {
            let earlier = &problems[first_row];
            found.push(NearDuplicate {
                row,
                first_row,
                problem_id: problem.problem_id.clone(),
                first_problem_id: earlier.problem_id.clone(),
                same_answer: problem.answer == earlier.answer && problem.code == earlier.code,
            });
        }
    }
    found
}

/// Removes the problems at these rows, as reported by [`near_duplicates`] or [`crate::contamination`]. Returns how many.
pub fn drop_rows(problems: &mut Vec<Problem>, rows: impl IntoIterator<Item = usize>) -> usize {
    let before = problems.len();
    let mut keep = vec![true; before];
    for row in rows {
        if let Some(flag) = keep.get_mut(row) {
            *flag = false;
        }
    }
    let mut flags = keep.into_iter();
    problems.retain(|_| flags.next().unwrap_or(true));
    before - problems.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rasft_types::Domain;

    fn problem(prompt: &str, answer: &str) -> Problem {
        Problem {
            problem_id: crate::problem_id(Domain::Math, prompt, Some(answer), None),
            domain: Domain::Math,
            source: "s".into(),
            prompt: prompt.into(),
            expert_response: None,
            answer: Some(answer.into()),
            code: None,
            meta: "{}".into(),
        }
    }

    #[test]
    fn reports_the_first_of_each_group() {
        let mut all = vec![
            problem("Ann has 3 apples.", "3"),
            problem("Ben has 3 apples.", "3"),
            problem("ann has  3 apples", "3"),
            problem("Ann has 3 apples!", "4"),
        ];
        let found = near_duplicates(&all);
        let short: Vec<_> = found.iter().map(|d| (d.row, d.first_row, d.same_answer)).collect();
        assert_eq!(short, [(2, 0, true), (3, 0, false)]);
        assert_eq!(found[0].first_problem_id, all[0].problem_id);
        assert_eq!(drop_rows(&mut all, found.iter().map(|d| d.row)), 2);
        assert_eq!(
            all.iter().map(|p| p.prompt.as_str()).collect::<Vec<_>>(),
            ["Ann has 3 apples.", "Ben has 3 apples."]
        );
    }
}
