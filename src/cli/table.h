/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A table as text. Cells are copied, without control characters. Columns are as wide as their widest cell; where the
 * whole, with 60 columns of the last, is wider than the terminal, those that can be spared are left out; then lines
 * are cut. */

#include "cli.h"

#define TABLE_COLUMNS_MAX 12U

typedef struct Column {
        const char *title;
        bool right; /* numbers */
        bool spare; /* may be left out */
} Column;

typedef struct Table Table;

Table *table_new(const Column *columns, size_t n); /* borrowed; NULL on OOM */
Table *table_free(Table *t);
DEFINE_CLEANUP(Table *, table_free)

/* The next cell, row by row; NULL is "-". */
int table_add(Table *t, const char *text) _must_check_;
int table_add_strings(Table *t, const json_t *list) _must_check_; /* joined; none is "-" */
int table_add_coloured(Table *t, Colour colour, const char *text) _must_check_;

/* `width` 0: as wide as it is. Colours go where descriptor `fd` has them. */
void table_print(const Table *t, FILE *f, int fd, size_t width, bool legend);

size_t text_width(const char *text); /* columns on a terminal, of UTF-8 */
/* At most `width` columns of it, with "…" where something was cut, without control characters; NULL on OOM. */
char *text_cut(const char *text, size_t width);

/* The strings of an array, with commas; NULL on OOM. */
char *strings_join(const json_t *list);

/* "12.3M" */
void bytes_to_string(uint64_t bytes, char ret[static 16]);
/* "850ms", "12s", "3min 20s" */
void span_to_string(uint64_t usec, char ret[static 32]);

/* "[#####     ]  48%", `width` columns; UTF-8 blocks where `blocks`. */
char *progress_bar(uint64_t done, uint64_t total, size_t width, bool blocks);

size_t terminal_width(int fd); /* 0: no terminal */
size_t terminal_height(int fd);
