package main

import (
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
)

const dayHint = "write it like 90s, 15m, 12h, 30d or 2w"

// parseDuration reads a positive duration: what Go writes, and days and weeks
// ("30d", "2w", "1d12h"). A day is 24 hours.
func parseDuration(text string) (time.Duration, error) {
	var total time.Duration
	rest := text
	for rest != "" {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		unit := strings.TrimLeft(rest[digits:], "abcdefghijklmnopqrstuvwxyz")
		word := rest[digits : len(rest)-len(unit)]
		n, err := strconv.ParseInt(rest[:digits], 10, 64)
		size := map[string]time.Duration{
			"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour,
			"d": 24 * time.Hour, "w": 7 * 24 * time.Hour,
		}[word]
		const most = 100 * 365 * 24 * time.Hour
		if err != nil || size == 0 || n > int64(most/size) || total > most {
			return 0, usageError("the duration cannot be read", dayHint)
		}
		total += time.Duration(n) * size
		rest = unit
	}
	if total <= 0 {
		return 0, usageError("the duration must be longer than nothing", dayHint)
	}
	return total, nil
}

// timeFlag reads the time of a flag: RFC 3339, a date, or a duration before now.
func timeFlag(name, text string, now time.Time) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	d, err := parseDuration(text)
	if err != nil {
		return time.Time{}, usageError("--"+name+": the time cannot be read",
			"a duration before now (30d, 12h, 2w), a date (2026-11-23) or RFC 3339 (2026-11-23T13:00:00Z)")
	}
	return now.Add(-d), nil
}

// durationFlag reads an optional duration flag; "" is nil.
func durationFlag(name, text string) (*durationpb.Duration, error) {
	if text == "" {
		return nil, nil
	}
	d, err := parseDuration(text)
	if err != nil {
		return nil, usageError("--"+name+": the duration cannot be read", dayHint)
	}
	return durationpb.New(d), nil
}

// shortDuration shows a duration as users write it: "7d", "36h", "1h30m0s".
func shortDuration(d *durationpb.Duration) string {
	if d == nil {
		return ""
	}
	v := d.AsDuration()
	switch day := 24 * time.Hour; {
	case v >= day && v%day == 0:
		return strconv.FormatInt(int64(v/day), 10) + "d"
	case v >= time.Hour && v%time.Hour == 0:
		return strconv.FormatInt(int64(v/time.Hour), 10) + "h"
	}
	return v.String()
}
