package main

import "sluice/control/config"

type schemaCommand struct{}

func (schemaCommand) Help() string {
	return example("Editors use the schema to complete and check a file that begins with "+
		"# yaml-language-server: $schema=./sluice.schema.json.", "sluice schema > sluice.schema.json")
}

func (schemaCommand) Run(t *terminal) error { return t.write(string(config.Schema())) }
