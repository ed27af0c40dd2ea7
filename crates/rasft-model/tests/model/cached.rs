//! The cache changes nothing: however a sequence comes in, and whatever else is going on, each row has the same bits.

use candle_core::Tensor;
use rasft_model::{Decoder, DecoderConfig, KvCache, LoadOptions, ModelError, Packed};

use crate::support::{FAMILIES, floats, tiny_bf16_decoder, tiny_decoder, tokens, uniform};

/// Rows of a (T, D) tensor as bits.
fn rows(tensor: &Tensor) -> Vec<Vec<u32>> {
    let rows: Vec<Vec<f32>> = tensor.to_vec2().unwrap();
    rows.into_iter().map(|row| row.into_iter().map(f32::to_bits).collect()).collect()
}

/// Every family laid out for inference, one in bf16, and one whose weights lie as they train.
fn decoders() -> Vec<(&'static str, Decoder)> {
    let mut all: Vec<_> = FAMILIES.iter().map(|f| (*f, tiny_decoder(f, &LoadOptions::default()))).collect();
    all.push(("qwen2 in bf16", tiny_bf16_decoder("qwen2")));
    all.push(("qwen3 in training", tiny_decoder("qwen3", &LoadOptions::trainable())));
    all
}

/// Hidden rows of one sequence alone, without a cache.
fn alone(decoder: &Decoder, ids: &[u32]) -> Vec<Vec<u32>> {
    rows(&decoder.hidden(&Packed::from_sequences(&[ids])).unwrap())
}

#[test]
fn packing_changes_no_bit() {
    for (family, decoder) in decoders() {
        let sequences: Vec<Vec<u32>> = [1, 17, 70, 2, 33].iter().map(|n| tokens(*n, 97, *n as u64)).collect();
        let packed = rows(&decoder.hidden(&Packed::from_sequences(&sequences)).unwrap());
        let single: Vec<_> = sequences.iter().flat_map(|ids| alone(&decoder, ids)).collect();
        assert!(packed == single, "{family}");
    }
}

/// What sequences begin with in common is computed once: of each the beginning of one before it and then other tokens.
#[test]
fn beginnings_in_common_change_no_bit() {
    for (family, decoder) in decoders() {
        let mut sequences = vec![tokens(90, 97, 1)];
        for (seed, (of, from, more)) in
            [(0, 40, 30), (1, 55, 9), (0, 90, 20), (2, 64, 0), (0, 3, 50), (0, 90, 0)].into_iter().enumerate()
        {
            sequences.push([&sequences[of][..from], &tokens(more, 97, 7 + seed as u64)].concat());
        }
        let packed = rows(&decoder.hidden(&Packed::from_sequences(&sequences)).unwrap());
        let single: Vec<_> = sequences.iter().flat_map(|ids| alone(&decoder, ids)).collect();
        assert!(packed == single, "{family}");
    }
}

/// Sequences advance by random chunks in random company, in random slots.
#[test]
fn chunked_prefill_and_decode_change_no_bit() {
    for (seed, (family, decoder)) in decoders().into_iter().enumerate() {
        let lens = [40, 3, 101, 64, 9, 55];
        let sequences: Vec<Vec<u32>> = lens.iter().map(|n| tokens(*n, 97, 100 + *n as u64)).collect();
        let expected: Vec<_> = sequences.iter().map(|ids| alone(&decoder, ids)).collect();
        let mut cache = KvCache::new(decoder.config(), 7, 101).unwrap();
        let mut state = seed as u64;
        let mut random = |n: usize| ((uniform(&mut state) + 1.0) / 2.0 * n as f32) as usize % n;
        let mut done = [0; 6];
        while done != lens {
            let mut batch = Packed::new();
            let mut parts = Vec::new();
            for (at, ids) in sequences.iter().enumerate() {
                let left = ids.len() - done[at];
                // Half of the steps are single tokens, as in decoding.
                let chunk = [0, 1, 1, 1 + random(40)][random(4)].min(left);
                batch.push(&ids[done[at]..done[at] + chunk], done[at], 6 - at);
                parts.extend((done[at]..done[at] + chunk).map(|t| (at, t)));
                done[at] += chunk;
            }
            if batch.is_empty() {
                continue;
            }
            let hidden = rows(&decoder.hidden_cached(&batch, &mut cache).unwrap());
            for (row, (at, t)) in hidden.iter().zip(parts) {
                assert!(*row == expected[at][t], "{family}: token {t} of sequence {at}");
            }
        }
        assert!((0..6).all(|at| cache.len(6 - at) == lens[at]) && cache.len(0) == 0);
    }
}

#[test]
fn logits_rows_do_not_depend_on_each_other() {
    let decoder = tiny_decoder("qwen2", &LoadOptions::default());
    let hidden = decoder.hidden(&Packed::from_sequences(&[tokens(67, 97, 5)])).unwrap();
    let all = rows(&decoder.logits(&hidden).unwrap());
    let targets = tokens(67, 97, 6);
    let logprobs = floats(&decoder.token_logprobs(&hidden, &targets).unwrap());
    for t in 0..67 {
        let one = hidden.narrow(0, t, 1).unwrap();
        assert!(rows(&decoder.logits(&one).unwrap())[0] == all[t], "logits of row {t}");
        let logprob = floats(&decoder.token_logprobs(&one, &targets[t..=t]).unwrap())[0];
        assert_eq!(logprob.to_bits(), logprobs[t].to_bits(), "logprob of row {t}");
    }
}

#[test]
fn a_forked_prefix_continues_as_if_it_had_been_read() {
    let decoder = tiny_decoder("qwen3", &LoadOptions::default());
    let mut cache = KvCache::new(decoder.config(), 4, 80).unwrap();
    let prompt = tokens(50, 97, 1);
    let mut batch = Packed::new();
    batch.push(&prompt, 0, 2);
    // Slot 3 held something else before.
    batch.push(&tokens(60, 97, 2), 0, 3);
    decoder.hidden_cached(&batch, &mut cache).unwrap();
    cache.truncate(3, 0);
    cache.fork(2, 49, &[0, 2, 3]).unwrap();
    assert_eq!([0, 1, 2, 3].map(|s| cache.len(s)), [49, 0, 50, 49]);
    cache.truncate(2, 49);
    let tails = [tokens(20, 97, 7), tokens(5, 97, 8), tokens(31, 97, 9)];
    let mut batch = Packed::new();
    for (tail, slot) in tails.iter().zip([0, 2, 3]) {
        batch.push(tail, 49, slot);
    }
    let hidden = rows(&decoder.hidden_cached(&batch, &mut cache).unwrap());
    for (tail, span) in tails.iter().zip(&batch.spans) {
        let whole = [&prompt[..49], tail].concat();
        assert!(hidden[span.rows()] == alone(&decoder, &whole)[49..]);
    }
}

/// Slots fork from each other, forget, and go on, in any order; the bits stay those of each sequence alone.
#[test]
fn borrowed_prefixes_outlive_their_holders() {
    const SLOTS: usize = 6;
    let mut forks = 0;
    for (seed, (family, decoder)) in decoders().into_iter().enumerate() {
        let mut cache = KvCache::new(decoder.config(), SLOTS, 110).unwrap();
        let mut state = 77 + seed as u64;
        let mut random = |n: usize| ((uniform(&mut state) + 1.0) / 2.0 * n as f32) as usize % n;
        let mut held: Vec<Vec<u32>> = vec![Vec::new(); SLOTS];
        for round in 0..120 {
            match random(3) {
                0 => {
                    let (from, to) = (random(SLOTS), [random(SLOTS), random(SLOTS)]);
                    // Often to the end of a panel of keys, or around it.
                    let len = [held[from].len(), random(held[from].len() + 1), held[from].len().min(48)][random(3)];
                    cache.fork(from, len, &to).unwrap();
                    let prefix = held[from][..len].to_vec();
                    to.iter().filter(|slot| **slot != from).for_each(|slot| held[*slot] = prefix.clone());
                    forks += 1;
                }
                1 => {
                    let slot = random(SLOTS);
                    let kept = [0, random(held[slot].len() + 1)][random(2)];
                    cache.truncate(slot, kept);
                    held[slot].truncate(kept);
                }
                _ => {}
            }
            assert!((0..SLOTS).all(|slot| cache.len(slot) == held[slot].len()));
            let mut batch = Packed::new();
            for (slot, held) in held.iter_mut().enumerate() {
                let chunk = [0, 1, 1, 1, 1 + random(50)][random(5)].min(110 - held.len());
                let new = tokens(chunk, 97, (round * SLOTS + slot) as u64);
                batch.push(&new, held.len(), slot);
                held.extend(new);
            }
            if batch.is_empty() {
                continue;
            }
            let hidden = rows(&decoder.hidden_cached(&batch, &mut cache).unwrap());
            for span in &batch.spans {
                let expected = alone(&decoder, &held[span.slot]);
                assert!(hidden[span.rows()] == expected[span.past..], "{family}, round {round}, slot {}", span.slot);
            }
        }
    }
    assert!(forks > 60, "{forks} forks");
}

/// A hundred sequences of five families, one of which is a single sequence: enough for several threads to take some each.
#[test]
fn threads_that_take_sequences_of_their_own_change_no_bit() {
    let decoder = tiny_bf16_decoder("qwen3");
    let steps = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut cache = KvCache::new(decoder.config(), 100, 90).unwrap();
        let mut prompts = Packed::new();
        let holders = [(0, 47), (1, 48), (40, 3), (41, 70), (99, 9)];
        holders.iter().for_each(|(slot, len)| prompts.push(&tokens(*len, 97, *slot as u64), 0, *slot));
        let mut hidden = vec![pool.install(|| decoder.hidden_cached(&prompts, &mut cache).unwrap())];
        for (holder, len, borrowers) in [(0, 47, 2..12), (1, 48, 12..40), (40, 3, 42..60), (41, 70, 60..99)] {
            cache.fork(holder, len, &borrowers.collect::<Vec<_>>()).unwrap();
        }
        for step in 0..4 {
            let mut batch = Packed::new();
            // Holders rest in one step, and some borrowers add a whole chunk in another.
            for slot in (0..100).filter(|slot| step != 1 || ![0, 40].contains(slot)) {
                let n = if step == 2 && slot % 7 == 5 { 10 } else { 1 };
                batch.push(&tokens(n, 97, (100 * step + slot) as u64), cache.len(slot), slot);
            }
            hidden.push(pool.install(|| decoder.hidden_cached(&batch, &mut cache).unwrap()));
        }
        hidden.iter().map(rows).collect::<Vec<_>>()
    };
    let expected = steps(1);
    for threads in [2, 3, 8] {
        assert!(steps(threads) == expected, "{threads} threads");
    }
}

#[test]
fn freed_slots_are_reused_cleanly() {
    let decoder = tiny_decoder("llama", &LoadOptions::default());
    let mut cache = KvCache::new(decoder.config(), 1, 64).unwrap();
    for n in [64, 5, 30] {
        let ids = tokens(n, 97, n as u64);
        let mut batch = Packed::new();
        batch.push(&ids, 0, 0);
        let hidden = rows(&decoder.hidden_cached(&batch, &mut cache).unwrap());
        assert!(hidden == alone(&decoder, &ids));
        cache.truncate(0, 0);
    }
}

/// Memory that another cache has left full, and laid out otherwise, is as good as fresh.
#[test]
fn a_cache_in_used_memory_changes_no_bit() {
    let decoder = tiny_decoder("qwen3", &LoadOptions::default());
    // All of them suit the memory of the first.
    for (n_slots, len) in [(4, 96), (3, 90), (2, 100), (6, 50)] {
        let mut cache = decoder.cache(n_slots, len).unwrap();
        assert!(cache.is_empty());
        let ids: Vec<_> = (0..n_slots).map(|slot| tokens(len, 97, (len + slot) as u64)).collect();
        let mut hidden = Vec::new();
        // Half at once, then one by one: each finds what is stale around it.
        for t in std::iter::once(0..len / 2).chain((len / 2..len).map(|t| t..t + 1)) {
            let mut batch = Packed::new();
            ids.iter().enumerate().for_each(|(slot, ids)| batch.push(&ids[t.clone()], t.start, slot));
            hidden.push((t, rows(&decoder.hidden_cached(&batch, &mut cache).unwrap())));
        }
        for (slot, ids) in ids.iter().enumerate() {
            let expected = alone(&decoder, ids);
            for (t, rows) in &hidden {
                assert!(
                    rows[slot * t.len()..][..t.len()] == expected[t.clone()],
                    "{n_slots} × {len}, slot {slot}, {t:?}"
                );
            }
        }
        decoder.hand_back(cache);
    }
}

#[test]
fn requests_that_do_not_fit_are_refused_before_the_cache_changes() {
    let decoder = tiny_decoder("llama", &LoadOptions::default());
    let mut cache = KvCache::new(decoder.config(), 2, 48).unwrap();
    let capacity = cache.capacity();
    let mut refuse = |spans: &[(usize, usize, usize)], words: &str| {
        let mut batch = Packed::new();
        for (n, past, slot) in spans {
            batch.push(&tokens(*n, 97, 1), *past, *slot);
        }
        let error = decoder.hidden_cached(&batch, &mut cache).unwrap_err();
        assert!(matches!(error, ModelError::Request(_)) && error.to_string().contains(words), "{error}");
        assert!(cache.is_empty());
    };
    refuse(&[], "no token");
    refuse(&[(1, 0, 2)], "slot 2 does not exist");
    refuse(&[(1, 0, 0), (1, 0, 0)], "twice");
    refuse(&[(1, 3, 1)], "slot 1 holds 0");
    refuse(&[(capacity + 1, 0, 1)], "capacity");
    assert!(cache.fork(0, 1, &[1]).unwrap_err().to_string().contains("holds 0"));
    assert!(cache.fork(0, 0, &[5]).unwrap_err().to_string().contains("slot 5"));
    assert!(KvCache::new(decoder.config(), usize::MAX, 2).is_err());
    let one = Packed::from_sequences(&[[1]]);
    let mut of_another = DecoderConfig { n_layers: 1, ..decoder.config().clone() };
    for _ in 0..2 {
        let mut cache = KvCache::new(&of_another, 2, 48).unwrap();
        assert!(decoder.hidden_cached(&one, &mut cache).unwrap_err().to_string().contains("another model"));
        of_another = DecoderConfig { head_dim: 2 * of_another.head_dim, ..decoder.config().clone() };
    }
    let mut gap = one.clone();
    gap.ids.push(2);
    assert!(decoder.hidden(&gap).unwrap_err().to_string().contains("1 of 2 tokens"));
    gap.spans[0].start = 1;
    assert!(decoder.hidden(&gap).unwrap_err().to_string().contains("begins at row 1"));
    let mut past = Packed::new();
    past.push(&[1], 1, 0);
    assert!(decoder.hidden(&past).unwrap_err().to_string().contains("no cache"));
    let unknown = Packed::from_sequences(&[vec![97]]);
    assert!(decoder.hidden(&unknown).unwrap_err().to_string().contains("token 97"));
    let long = Packed::from_sequences(&[tokens(257, 97, 1)]);
    assert!(decoder.hidden(&long).unwrap_err().to_string().contains("max_position_embeddings 256"));
}
