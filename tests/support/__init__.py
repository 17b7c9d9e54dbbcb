"""What several tests and the programs in `tools` use: servers, drawn data, reference readers."""
