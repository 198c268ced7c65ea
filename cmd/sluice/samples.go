package main

import (
	"iter"
	"time"

	"sluice/proxy/observe"
)

// sample is one series of a metric, and its value.
type sample struct {
	labels string // as observe.Labels writes them
	value  float64
}

type numeric interface {
	~int | ~int64 | ~uint64 | ~float64
}

// labelled is a sample whose labels are names and values, in turn.
func labelled[N numeric](value N, pairs ...string) sample {
	return sample{observe.Labels(pairs...), float64(value)}
}

// samples yields them in turn.
func samples(list ...sample) iter.Seq2[string, float64] {
	return func(yield func(string, float64) bool) {
		for _, s := range list {
			if !yield(s.labels, s.value) {
				return
			}
		}
	}
}

// each yields the samples of everything in a list. The list of what may not be there holds one thing, or none.
func each[P any](of func(p *P) []sample) func(list []P) iter.Seq2[string, float64] {
	return func(list []P) iter.Seq2[string, float64] {
		return func(yield func(string, float64) bool) {
			for i := range list {
				for _, s := range of(&list[i]) {
					if !yield(s.labels, s.value) {
						return
					}
				}
			}
		}
	}
}

// one is each for a metric that has one series for everything in a list.
func one[P any](of func(p *P) sample) func(list []P) iter.Seq2[string, float64] {
	return each(func(p *P) []sample { return []sample{of(p)} })
}

// value is for a metric with one series and no labels.
func value[T any, N numeric](of func(seen T) N) func(T) iter.Seq2[string, float64] {
	return func(seen T) iter.Seq2[string, float64] { return samples(labelled(of(seen))) }
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// unix is a time in seconds since 1970, and 0 for none.
func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}
