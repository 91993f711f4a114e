// WordPiece, as BERT's uncased models use it: a text becomes the ids of pieces of words that the vocabulary holds.
//
// The same ids as the Python package `tokenizers` gives for all-MiniLM-L6-v2 (tests/test_export.py).

const MOST_CHARACTERS = 100;   // of a word; a longer one is unknown
const MOST_IDS = 128;          // of a text, the two marks at its ends included
const CONTROL = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\u0000\ufffd]/gu;
const PUNCTUATION = /[\p{P}!-/:-@[-`{-~]/gu;
const CHINESE =
  /[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u{20000}-\u{2a6df}\u{2a700}-\u{2b81f}\u{2b920}-\u{2ceaf}\u{2f800}-\u{2fa1f}]/gu;

function normalize(text) {
  const clean = text
    .replace(/[\t\n\r]/g, " ")
    .replace(CONTROL, "")
    .replace(/\p{Zs}/gu, " ")
    .replace(CHINESE, " $& ");
  return clean.normalize("NFD").replace(/\p{Mn}/gu, "").toLowerCase();
}

function longestPiece(characters, start, vocabulary) {
  const mark = start > 0 ? "##" : "";
  for (let end = characters.length; end > start; end -= 1) {
    const id = vocabulary.get(mark + characters.slice(start, end).join(""));
    if (id !== undefined) {
      return [id, end];
    }
  }
  return null;
}

function idsOfWord(word, vocabulary) {
  const characters = [...word];
  const unknown = [vocabulary.get("[UNK]")];
  if (characters.length > MOST_CHARACTERS) {
    return unknown;
  }
  const ids = [];
  let start = 0;
  while (start < characters.length) {
    const found = longestPiece(characters, start, vocabulary);
    if (!found) {
      return unknown;
    }
    ids.push(found[0]);
    start = found[1];
  }
  return ids;
}

// The vocabulary's file, one piece a line -> piece -> id.
export function readVocabulary(text) {
  return new Map(text.split("\n").map((piece, id) => [piece, id]));
}

// Text -> ids, with [CLS] before and [SEP] after them.
export function tokenize(text, vocabulary) {
  const words = normalize(text).replace(PUNCTUATION, " $& ").split(/\s+/u).filter(Boolean);
  const ids = words.flatMap((word) => idsOfWord(word, vocabulary)).slice(0, MOST_IDS - 2);
  return [vocabulary.get("[CLS]"), ...ids, vocabulary.get("[SEP]")];
}
