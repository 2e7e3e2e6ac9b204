"""Pure ground of the platform: ids, refs, time, errors, verbs and events. No input or output happens here."""
