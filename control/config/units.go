package config

import (
	"fmt"
	"math"
	"math/big"
	"strings"
	"time"
)

// Duration is a span of time, written 250ms, 2s, 1h30m or 7d. Off is 0.
type Duration time.Duration

// Size is a number of bytes, written 512, 10KB (1,000s) or 32KiB (1,024s). Off is Unlimited.
type Size int64

// Unlimited is the size that nothing exceeds.
const Unlimited Size = math.MaxInt64

// Rate is a number of bytes per second, written 1KiB/s. Off is 0.
type Rate int64

// Percent is a share in millionths: 1% is 10,000. It is written 5% or 0.1%.
type Percent int32

// percentOne is 1% in the unit of Percent.
const percentOne = 10_000

// Fraction returns the share as a number between 0 and 1.
func (p Percent) Fraction() float64 { return float64(p) / (100 * percentOne) }

// durationMax is longer than anything that Sluice waits for.
const durationMax = 365 * 24 * time.Hour

func (v *Duration) decode(d *decoder, n *node, path string, f field) {
	wanted := orOff("a duration such as 2s", f)
	text, isOff, ok := d.unit(n, path, wanted, f)
	if !ok || isOff {
		*v = 0
		return
	}
	span, ok := parseDuration(text)
	switch {
	case !ok:
		hint := ""
		if isDigits(text) && n.parts == nil {
			hint = fmt.Sprintf("write %ss or %sms", text, text)
		}
		d.wants(n, path, wanted, hint)
	case span > durationMax:
		d.wants(n, path, "a duration of at most 365d", "")
	case span == 0 && f.offAlone:
		d.wants(n, path, wanted, "write off")
	case span == 0 && !f.off:
		d.wants(n, path, "a duration above 0", "")
	default:
		*v = Duration(span)
	}
}

var durationUnits = map[string]time.Duration{
	"us": time.Microsecond, "ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour,
}

// parseDuration reads numbers with units, one after the other: 1h30m.
func parseDuration(s string) (time.Duration, bool) {
	var sum time.Duration
	for first := true; first || s != ""; first = false {
		digits := strings.IndexFunc(s, func(c rune) bool { return !isDigit(byte(c)) && c != '.' || c > 0x7f })
		if digits <= 0 {
			return 0, false
		}
		end := digits
		for end < len(s) && s[end] >= 'a' && s[end] <= 'z' {
			end++
		}
		unit, ok := durationUnits[s[digits:end]]
		if !ok {
			return 0, false
		}
		part, ok := scale(s[:digits], int64(unit))
		if !ok || time.Duration(part) > math.MaxInt64-sum {
			return 0, false
		}
		sum += time.Duration(part)
		s = s[end:]
	}
	return sum, true
}

func (v *Size) decode(d *decoder, n *node, path string, f field) {
	wanted := orOff("a size such as 1MiB", f)
	text, isOff, ok := d.unit(n, path, wanted, f)
	if isOff {
		*v = Unlimited
	}
	if !ok || isOff {
		return
	}
	bytes, ok := parseSize(text)
	switch {
	case !ok:
		d.wants(n, path, wanted, "units: B, KB, MB, GB, TB, KiB, MiB, GiB, TiB")
	case bytes == 0 && f.off:
		d.wants(n, path, "a size above 0", "off lifts the limit")
	case bytes == 0:
		d.wants(n, path, "a size above 0", "")
	case f.max != "" && bytes > mustSize(f.max):
		d.wants(n, path, "at most "+f.max, "")
	case f.min != "" && bytes < mustSize(f.min):
		d.wants(n, path, "at least "+f.min, "")
	default:
		*v = Size(bytes)
	}
}

// mustSize reads a bound out of a tag.
func mustSize(tag string) int64 {
	bytes, ok := parseSize(tag)
	if !ok {
		panic("BUG: the tag " + tag + " is not a size")
	}
	return bytes
}

var sizeUnits = map[string]int64{
	"": 1, "B": 1,
	"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
	"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
}

func parseSize(s string) (int64, bool) {
	digits := len(s) - len(strings.TrimLeft(s, "0123456789."))
	unit, ok := sizeUnits[strings.TrimPrefix(s[digits:], " ")]
	if !ok {
		return 0, false
	}
	return scale(s[:digits], unit)
}

func (v *Rate) decode(d *decoder, n *node, path string, f field) {
	wanted := orOff("a rate such as 1KiB/s", f)
	text, isOff, ok := d.unit(n, path, wanted, f)
	if !ok || isOff {
		*v = 0
		return
	}
	if text == "0" && f.off {
		*v = 0
		return
	}
	size, perSecond := strings.CutSuffix(text, "/s")
	bytes, ok := parseSize(size)
	if !ok || !perSecond || bytes == 0 && !f.off {
		d.wants(n, path, wanted, "")
		return
	}
	*v = Rate(bytes)
}

func (v *Percent) decode(d *decoder, n *node, path string, _ field) {
	const wanted = "a percentage such as 5%"
	text, ok := d.scalar(n, path, wanted)
	if !ok {
		return
	}
	share, ok := parsePercent(text)
	if !ok {
		d.wants(n, path, wanted, "between 0% and 100%, in steps of 0.0001%")
		return
	}
	*v = share
}

func parsePercent(s string) (Percent, bool) {
	number, ok := strings.CutSuffix(s, "%")
	if !ok {
		return 0, false
	}
	millionths, ok := scale(number, percentOne)
	if !ok || millionths > 100*percentOne {
		return 0, false
	}
	return Percent(millionths), true
}

// unit gives the text of a value with a unit, and whether it is the word off where that is allowed.
func (d *decoder) unit(n *node, path, wanted string, f field) (text string, isOff, ok bool) {
	text, ok = d.scalar(n, path, wanted)
	return text, ok && f.off && text == "off", ok
}

func orOff(wanted string, f field) string {
	if f.off {
		return wanted + " or off"
	}
	return wanted
}

// numberBytesMax keeps the exact arithmetic of scale cheap.
const numberBytesMax = 20

// scale multiplies a decimal number such as 1.5 with a unit. The result must be whole: 0.3B means nothing.
func scale(number string, unit int64) (int64, bool) {
	whole, decimals, dotted := strings.Cut(number, ".")
	if len(number) > numberBytesMax || !isDigits(whole) || dotted && !isDigits(decimals) {
		return 0, false
	}
	exact, ok := new(big.Rat).SetString(number)
	if !ok {
		return 0, false
	}
	exact.Mul(exact, new(big.Rat).SetInt64(unit))
	if !exact.IsInt() || !exact.Num().IsInt64() {
		return 0, false
	}
	return exact.Num().Int64(), true
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
