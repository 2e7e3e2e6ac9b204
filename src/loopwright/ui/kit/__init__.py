"""What every page is made of: asking the rooms, words, charts, forms, addresses, rendering."""
