"""The same verbs over HTTP and in process; the declarations of a project file."""
