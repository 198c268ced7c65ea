package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// What stands in the file: in the bucket "meta" the form of the file and in which run it is (see Ledger.run), and in the bucket "meters" one
// for each meter, with the periods that were opened and the run in which they were, and a record for each key. All numbers are
// big-endian.

var (
	bucketMeta   = []byte("meta")
	bucketMeters = []byte("meters")
	bucketOpened = []byte("opened")
	bucketKeys   = []byte("keys")
	keyForm      = []byte("form")
	keyRun       = []byte("run")
)

// form is that of the file. One with another form is not read.
const form = 1

// record is what the file says about a key.
type record struct {
	period uint64
	run    uint64 // in which it was written
	used   int64  // at most
	batch  int64  // what may have been used beyond that in each run since
	text   string
}

const (
	recordHead   = 4 * 8
	recordSum    = 4
	textBytesMax = 256
)

// append encodes the record of a key, with a sum over both: pages of the file have none.
func (r *record) append(dst []byte, key Key) []byte {
	for _, n := range []uint64{r.period, r.run, uint64(r.used), uint64(r.batch)} {
		dst = binary.BigEndian.AppendUint64(dst, n)
	}
	dst = append(dst, r.text[:min(len(r.text), textBytesMax)]...)
	return binary.BigEndian.AppendUint32(dst, sum(key, dst))
}

func sum(key Key, b []byte) uint32 {
	return crc32.Update(crc32.ChecksumIEEE(key[:]), crc32.IEEETable, b)
}

var errDamaged = errors.New("the file is damaged")

func parseRecord(key, b []byte) (k Key, r record, err error) {
	if len(key) != len(k) || len(b) < recordHead+recordSum || len(b) > recordHead+textBytesMax+recordSum {
		return k, r, fmt.Errorf("%w: a record has %d bytes, for a key of %d", errDamaged, len(b), len(key))
	}
	k = Key(key)
	b, end := b[:len(b)-recordSum], b[len(b)-recordSum:]
	if sum(k, b) != binary.BigEndian.Uint32(end) {
		return k, r, fmt.Errorf("%w: a record is not what was written", errDamaged)
	}
	r.period, r.run = binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
	used, batch := binary.BigEndian.Uint64(b[16:]), binary.BigEndian.Uint64(b[24:])
	r.text = string(b[recordHead:])
	if used > AmountMax || batch > AmountMax || r.period >= 1<<(64-amountBits)-1 {
		return k, r, fmt.Errorf("%w: a record counts what cannot be", errDamaged)
	}
	r.used, r.batch = int64(used), int64(batch)
	return k, r, nil
}

// number encodes what the file counts beside records, with a sum, too.
func number(n uint64) []byte {
	b := binary.BigEndian.AppendUint64(nil, n)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

func parseNumber(b []byte) (uint64, error) {
	if len(b) != 8+recordSum || crc32.ChecksumIEEE(b[:8]) != binary.BigEndian.Uint32(b[8:]) {
		return 0, fmt.Errorf("%w: a number of %d bytes is not what was written", errDamaged, len(b))
	}
	return binary.BigEndian.Uint64(b), nil
}
