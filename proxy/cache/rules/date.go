package rules

import (
	"bytes"

	"sluice/proxy/wire"
)

// ParseDate reads an HTTP-date in one of its three forms (RFC 9110 section 5.6.7) as Unix seconds. As RFC 9111 section 4.2 wants it of
// caches, letters may be in either case, and another time zone than GMT makes it none. The day of the week has to be one, but not the right one.
func ParseDate(b []byte) (int64, bool) {
	comma := bytes.IndexByte(b, ',')
	switch {
	case comma == 3 && len(b) == len("Sun, 06 Nov 1994 08:49:37 GMT"):
		return parseFixdate(b)
	case comma > 3:
		return parseRFC850(b, comma)
	case len(b) == len("Sun Nov  6 08:49:37 1994"):
		return parseAsctime(b)
	}
	return 0, false
}

// parseFixdate reads "Sun, 06 Nov 1994 08:49:37 GMT".
func parseFixdate(b []byte) (int64, bool) {
	if nameIndex(b[:3], dayNames) < 0 || b[4] != ' ' || b[7] != ' ' || b[11] != ' ' || b[16] != ' ' || !is(b[25:], " gmt") {
		return 0, false
	}
	day, dayOK := digits(b[5:7])
	year, yearOK := digits(b[12:16])
	seconds, timeOK := timeOfDay(b[17:25])
	return unix(year, nameIndex(b[8:11], monthNames), day, seconds, dayOK && yearOK && timeOK)
}

// parseRFC850 reads "Sunday, 06-Nov-94 08:49:37 GMT". The year is to be less than 50 years ahead. As there is no clock here, that is as seen from
// 2026: 1977 to 2076. Nobody is known to send this form for anything but the recent past.
func parseRFC850(b []byte, comma int) (int64, bool) {
	i := nameIndex(b[:3], dayNames)
	if i < 0 || !is(b[:comma], longDayNames[i]) {
		return 0, false
	}
	b = b[comma+1:]
	if len(b) != len(" 06-Nov-94 08:49:37 GMT") || b[0] != ' ' || b[3] != '-' || b[7] != '-' || b[10] != ' ' || !is(b[19:], " gmt") {
		return 0, false
	}
	day, dayOK := digits(b[1:3])
	year, yearOK := digits(b[8:10])
	seconds, timeOK := timeOfDay(b[11:19])
	if year += 1900; year < 1977 {
		year += 100
	}
	return unix(year, nameIndex(b[4:7], monthNames), day, seconds, dayOK && yearOK && timeOK)
}

// parseAsctime reads "Sun Nov  6 08:49:37 1994".
func parseAsctime(b []byte) (int64, bool) {
	if nameIndex(b[:3], dayNames) < 0 || b[3] != ' ' || b[7] != ' ' || b[10] != ' ' || b[19] != ' ' {
		return 0, false
	}
	dayText := b[8:10]
	if dayText[0] == ' ' {
		dayText = dayText[1:]
	}
	day, dayOK := digits(dayText)
	year, yearOK := digits(b[20:24])
	seconds, timeOK := timeOfDay(b[11:19])
	return unix(year, nameIndex(b[4:7], monthNames), day, seconds, dayOK && yearOK && timeOK)
}

const (
	dayNames   = "sunmontuewedthufrisat"
	monthNames = "janfebmaraprmayjunjulaugsepoctnovdec"
)

var longDayNames = [7]string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}

// nameIndex finds a name of three letters in a list without gaps, or returns -1.
func nameIndex(name []byte, list string) int {
	for i := 0; i < len(list); i += 3 {
		if wire.EqualFold(name, list[i:i+3]) {
			return i / 3
		}
	}
	return -1
}

func digits(b []byte) (int64, bool) {
	var n int64
	for _, c := range b {
		if c-'0' > 9 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// timeOfDay reads "08:49:37", with 60 for a leap second.
func timeOfDay(b []byte) (int64, bool) {
	h, ok1 := digits(b[0:2])
	m, ok2 := digits(b[3:5])
	s, ok3 := digits(b[6:8])
	if !ok1 || !ok2 || !ok3 || b[2] != ':' || b[5] != ':' || h > 23 || m > 59 || s > 60 {
		return 0, false
	}
	return h*3600 + m*60 + s, true
}

// unix counts the days of the proleptic Gregorian calendar. Months count from 0.
func unix(year int64, month int, day, seconds int64, ok bool) (int64, bool) {
	if !ok || month < 0 || day < 1 || day > monthDays(year, month) {
		return 0, false
	}
	// Years begin in March here, so that the day that comes and goes is the last.
	m := int64(month) - 2
	if m < 0 {
		m += 12
		year--
	}
	year += 400 // so that nothing below is negative
	era, yearOfEra := year/400, year%400
	days := era*146097 + yearOfEra*365 + yearOfEra/4 - yearOfEra/100 + (153*m+2)/5 + day - 1
	return (days-146097-719468)*86400 + seconds, true
}

func monthDays(year int64, month int) int64 {
	if month == 1 && year%4 == 0 && (year%100 != 0 || year%400 == 0) {
		return 29
	}
	return int64("\x1f\x1c\x1f\x1e\x1f\x1e\x1f\x1f\x1e\x1f\x1e\x1f"[month])
}
