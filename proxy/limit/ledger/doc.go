// Package ledger counts what keys have used of something in a period of the calendar, such that a restart forgets nothing, and a crash
// gives nobody more.
//
// A Ledger is a file (bbolt) and the goroutine that writes it; a Meter is what is counted by one period for the keys of one policy,
// and an Account the count of one key. calendar.go is what a period is, account.go the decision, meter.go how accounts are found,
// ledger.go the file, and record.go what stands in it.
//
// No account waits for the file; who is told that it is closed may, see Ledger.Written. What the file says of a key is not what has been
// used but what may have been, ahead of it: a batch more. It is written while the last half of a batch is used up. What has no record yet, because its key is new, or new in this period, may use one
// batch before there is one; for that the file says beforehand that the gateway runs. If it says so still when the gateway starts, that
// has crashed, and every key may have used a batch that no record tells of:
//
//	used = what the record says + a batch for each crash since it was written
//
// So a crash costs a key one batch at most, and gives it nothing. A stop in good order writes what was really used, and that nothing runs.
//
// While the file cannot be written, keys use up what was reserved for them and get no more: see Verdict.Closed.
package ledger
