package policies

import (
	"github.com/agnivade/levenshtein"

	"github.com/heroctl/heroctl/schema"
)

// synonyms are words that other systems use for ours.
var synonyms = map[string]string{
	"write": "update", "put": "update", "patch": "update", "edit": "update", "get": "read", "view": "describe",
	"remove": "delete", "submit": "run", "start": "run", "secrets": "secret", "capability": "capabilities",
	"pattern": "path", "name": "path", "desc": "description", "kill": "stop", "ack": "acknowledge",
	"cidrs": "source_cidrs", "source": "source_cidrs", "networks": "source_cidrs", "weekdays": "days", "tz": "timezone", "zone": "timezone",
	"max_age": "token_max_age", "method": "auth_method", "conditions": "condition", "when": "condition", "if": "condition", "except": "unless",
}

// didYouMean returns a hint with the valid word nearest to the given one, or the
// fallback when none is near. The given word itself is never repeated.
func didYouMean(given string, valid []string, fallback string) string {
	best, distance := "", max(2, len(given)/3)+1
	for _, word := range valid {
		if synonyms[given] == word {
			best = word
			break
		}
		if d := levenshtein.ComputeDistance(given, word); d < distance && d < len(word) {
			best, distance = word, d
		}
	}
	if best == "" {
		return fallback
	}
	return `did you mean "` + best + `"? ` + fallback
}

func resourceWords() []string {
	var words []string
	for _, r := range schema.Resources() {
		words = append(words, string(r))
	}
	return words
}

func verbWords(r schema.Resource) []string {
	var words []string
	for _, v := range r.Verbs() {
		words = append(words, string(v))
	}
	return words
}
