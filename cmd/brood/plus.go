package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/brood-go/brood/batch"
)

// --plus has strings with something of the user's in them, as {%.gz}: bash's parameter expansions.
// Each that a text has is made a rule of its own, as if --rpl had said it.

// plusForm is such a string, perhaps with the number of a value.
var plusForm = regexp.MustCompile(`\{-?[0-9]*(:[0-9]+(?::[0-9]+)?|##?[^#}][^}]*|%%?[^%}][^}]*|/[^/}]+/[^}]*|\^\^?[^^}]+|,,?[^,}]+)\}`)

// plusOthers are what GNU parallel has there besides, with what to use instead.
var plusOthers = map[string]string{
	"{0#}": "use $(printf %03d {#})", "{0%}": "use $(printf %03d {%})", "{slot}": "use {%}",
	"{uniq}": "choose the input before", "{choose_k}": "choose the input before",
	"{host}": "brood does not run jobs on other machines yet", "{sshlogin}": "brood does not run jobs on other machines yet",
	"{hgrp}": "brood does not run jobs on other machines yet", "{agrp}": "brood does not run jobs on other machines yet",
}

// plusRules are the rules for the strings in a text, but for those that have one already.
func plusRules(text string, known []batch.Rule) (rules []batch.Rule, err error) {
	has := func(tag string) bool {
		return slices.ContainsFunc(known, func(r batch.Rule) bool { return r.Tag == tag })
	}
	for s, instead := range plusOthers {
		if strings.Contains(text, s) && !has(s) {
			return nil, fmt.Errorf("--plus: %s is not known: %s", s, instead)
		}
	}
	for _, m := range plusForm.FindAllStringSubmatch(text, -1) {
		tag := "{" + m[1] + "}"
		if has(tag) {
			continue
		}
		steps, err := plusSteps(m[1])
		var r batch.Rule
		if err == nil {
			r, err = batch.ParseRule(tag + " " + steps)
		}
		if err != nil {
			return nil, fmt.Errorf("--plus: %s: %w; use {= s/REGEXP/TEXT/ =}", m[0], err)
		}
		rules = append(rules, r)
	}
	return rules, nil
}

// plusSteps is what such a string does, in the steps of --rpl.
func plusSteps(form string) (string, error) {
	cut := func(prefix string) (string, bool) { return strings.CutPrefix(form, prefix) }
	step := func(expr, text, flags string) (string, error) {
		const border = "\x01" // which nobody writes
		return "s" + border + expr + border + text + border + flags, nil
	}
	if pos, ok := cut(":"); ok {
		from, length, both := strings.Cut(pos, ":")
		if !both {
			return step("(?s)^.{0,"+from+"}", "", "")
		}
		return step("(?s)^.{0,"+from+"}(.{0,"+length+"}).*$", "$1", "")
	}
	for _, p := range []struct{ prefix, before, after, text string }{
		{"##", "^(?:", ")", ""},
		{"#", "^(?U:", ")", ""}, // the shortest one
		{"%%", "(?:", ")$", ""},
		{"%", "(.*)(?U:", ")$", "$1"},
	} {
		if expr, ok := cut(p.prefix); ok {
			return step(p.before+expr+p.after, p.text, "")
		}
	}
	if rest, ok := cut("/"); ok {
		old, text, _ := strings.Cut(rest, "/")
		return step(old, text, "")
	}
	for _, p := range []struct {
		prefix, before, flags string
		change                func(string) string
	}{
		{"^^", "", "g", strings.ToUpper},
		{"^", "^", "", strings.ToUpper},
		{",,", "", "g", strings.ToLower},
		{",", "^", "", strings.ToLower},
	} {
		if letters, ok := cut(p.prefix); ok {
			if regexp.QuoteMeta(letters) != letters {
				return "", fmt.Errorf("%q is not letters alone", letters)
			}
			return step(p.before+letters, p.change(letters), p.flags)
		}
	}
	return "", fmt.Errorf("%q is not known", form)
}
