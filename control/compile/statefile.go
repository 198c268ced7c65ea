package compile

import (
	"path/filepath"

	"sluice/control/config"
)

// stateFile is the name of a file in the folder of state, the same however that is spelled: what has a file open keeps it in the next
// configuration, and does not wait for a lock that it has itself.
func stateFile(c *config.Config, name string) string {
	folder, err := filepath.Abs(string(c.State))
	if err != nil {
		folder = string(c.State) // nobody knows where this process is: it is opened as it is spelled
	}
	return filepath.Join(realFolder(folder), name)
}

// realFolder follows links. Of a folder that is not there yet it follows those of the folders that it will be in.
func realFolder(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	parent := filepath.Dir(path)
	if parent == path {
		return path
	}
	return filepath.Join(realFolder(parent), filepath.Base(path))
}
