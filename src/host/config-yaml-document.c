/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* libyaml's marks count characters, not bytes, and do not count a byte order mark that its reader took off. So we take
 * it off ourselves, fix the encoding to UTF-8, and count lead bytes to get from characters to bytes. */

#include "config-yaml-document.h"

#include <yaml.h>

#include "basic/error.h"
#include "basic/string-util.h"
#include "config-yaml.h"

#define DEPTH_MAX 16U
#define NODES_MAX 4096U
#define BOM "\xEF\xBB\xBF"

DEFINE_CLEANUP(yaml_parser_t *, yaml_parser_delete)
DEFINE_CLEANUP(yaml_event_t *, yaml_event_delete)

typedef struct Builder {
        YamlDocument *document;
        const char *text;
        size_t size;
        size_t byte, character; /* the same place in the text, counted in both ways */
        size_t open[DEPTH_MAX]; /* the containers we are in, outermost first */
        unsigned depth;
        char *key; /* read, its value still to come */
        size_t documents;
} Builder;

YamlDocument *yaml_document_free(YamlDocument *d) {
        if (!d)
                return NULL;
        for (size_t i = 0; i < d->n; i++) {
                free(d->nodes[i].key);
                free(d->nodes[i].value);
        }
        free(d->nodes);
        free(d);
        return NULL;
}

/* Marks only grow, so that the whole text is walked once. */
static size_t byte_of(Builder *b, size_t character) {
        if (character < b->character)
                b->byte = b->character = 0;

        while (b->character < character && b->byte < b->size) {
                b->byte++;
                while (b->byte < b->size && ((unsigned char) b->text[b->byte] & 0xC0) == 0x80)
                        b->byte++;
                b->character++;
        }

        return b->byte;
}

static int bad_yaml(const yaml_mark_t *mark, const char *what, char **reterr) {
        return fail(reterr, -EBADMSG, "line %zu, column %zu: %s; mend it by hand", mark->line + 1, mark->column + 1,
                    what);
}

static YamlNode *container_of(const Builder *b) {
        return b->depth > 0 ? &b->document->nodes[b->open[b->depth - 1]] : NULL;
}

static char quote_of(yaml_scalar_style_t style) {
        switch (style) {
        case YAML_SINGLE_QUOTED_SCALAR_STYLE:
                return '\'';
        case YAML_DOUBLE_QUOTED_SCALAR_STYLE:
                return '"';
        case YAML_LITERAL_SCALAR_STYLE:
        case YAML_FOLDED_SCALAR_STYLE:
                return '|';
        default:
                return 0;
        }
}

static int copy_scalar(const yaml_event_t *event, char **ret, char **reterr) {
        const char *value = (const char *) event->data.scalar.value;

        if (memchr(value, '\0', event->data.scalar.length))
                return bad_yaml(&event->start_mark, "a NUL character is not allowed", reterr);
        *ret = strndup(value, event->data.scalar.length);
        return *ret ? 0 : -ENOMEM;
}

static int take_key(Builder *b, const yaml_event_t *event, char **reterr) {
        _cleanup_free_ char *key = NULL;
        int r;

        if (event->type != YAML_SCALAR_EVENT)
                return bad_yaml(&event->start_mark, "a key must be a plain word", reterr);

        r = copy_scalar(event, &key, reterr);
        if (r < 0)
                return r;
        if (yaml_document_find(b->document, b->open[b->depth - 1], key))
                return fail(reterr, -EEXIST, "line %zu: the key '%s' is there a second time; remove one of the two",
                            event->start_mark.line + 1, key);

        b->key = TAKE_PTR(key);
        return 0;
}

static int append_node(Builder *b, const yaml_event_t *event, YamlNode **ret) {
        YamlDocument *d = b->document;
        YamlNode *grown;

        grown = reallocarray(d->nodes, d->n + 1, sizeof(YamlNode));
        if (!grown)
                return -ENOMEM;
        d->nodes = grown;
        d->nodes[d->n] = (YamlNode){
                .parent = b->depth > 0 ? b->open[b->depth - 1] : YAML_TOP,
                .key = TAKE_PTR(b->key),
                .start = byte_of(b, event->start_mark.index),
                .line = event->start_mark.line + 1,
        };
        *ret = &d->nodes[d->n++];
        (*ret)->end = byte_of(b, event->end_mark.index);
        return 0;
}

static int take_value(Builder *b, const yaml_event_t *event, char **reterr) {
        YamlNode *node;
        int r;

        if (b->document->n >= NODES_MAX)
                return fail(reterr, -E2BIG, "more than %u values", NODES_MAX);
        if (b->depth == 0 && event->type != YAML_MAPPING_START_EVENT)
                return bad_yaml(&event->start_mark, "the document must be a mapping of keys to values", reterr);
        r = append_node(b, event, &node);
        if (r < 0)
                return r;

        if (event->type == YAML_SCALAR_EVENT) {
                node->kind = YAML_KIND_SCALAR;
                node->quote = quote_of(event->data.scalar.style);
                node->plain = node->quote == 0;
                node->decorated = event->data.scalar.anchor || event->data.scalar.tag;
                return copy_scalar(event, &node->value, reterr);
        }

        if (event->type == YAML_MAPPING_START_EVENT) {
                node->kind = YAML_KIND_MAPPING;
                node->flow = event->data.mapping_start.style == YAML_FLOW_MAPPING_STYLE;
        } else {
                node->kind = YAML_KIND_SEQUENCE;
                node->flow = event->data.sequence_start.style == YAML_FLOW_SEQUENCE_STYLE;
        }
        if (b->depth >= DEPTH_MAX)
                return bad_yaml(&event->start_mark, "values are nested too deeply", reterr);
        b->open[b->depth++] = b->document->n - 1;
        return 0;
}

static int take_event(Builder *b, const yaml_event_t *event, char **reterr) {
        const YamlNode *container = container_of(b);

        switch (event->type) {
        case YAML_STREAM_START_EVENT:
        case YAML_STREAM_END_EVENT:
        case YAML_DOCUMENT_END_EVENT:
                return 0;
        case YAML_DOCUMENT_START_EVENT:
                if (b->documents++ > 0)
                        return bad_yaml(&event->start_mark, "a second document is not allowed", reterr);
                return 0;
        case YAML_ALIAS_EVENT:
                return bad_yaml(&event->start_mark, "aliases are not allowed", reterr);
        case YAML_MAPPING_END_EVENT:
        case YAML_SEQUENCE_END_EVENT:
                b->depth--;
                return 0;
        default:
                if (container && container->kind == YAML_KIND_MAPPING && !b->key)
                        return take_key(b, event, reterr);
                return take_value(b, event, reterr);
        }
}

static int build(Builder *b, yaml_parser_t *parser, char **reterr) {
        bool end = false;

        while (!end) {
                yaml_event_t event;
                _cleanup_(yaml_event_deletep) _unused_ yaml_event_t *owner = NULL;
                int r;

                if (!yaml_parser_parse(parser, &event)) {
                        if (parser->error == YAML_MEMORY_ERROR)
                                return -ENOMEM;
                        return bad_yaml(&parser->problem_mark, parser->problem ?: "not YAML", reterr);
                }
                owner = &event;

                r = take_event(b, &event, reterr);
                if (r < 0)
                        return r;
                end = event.type == YAML_STREAM_END_EVENT;
        }

        return b->document->n > 0 ? 0 : fail(reterr, -EBADMSG, "the file has no keys at all");
}

int yaml_document_parse(const char *text, size_t size, YamlDocument **ret, char **reterr) {
        _cleanup_(yaml_document_freep) YamlDocument *d = NULL;
        _cleanup_(yaml_parser_deletep) _unused_ yaml_parser_t *owner = NULL;
        size_t bom = size >= strlen(BOM) && memcmp(text, BOM, strlen(BOM)) == 0 ? strlen(BOM) : 0;
        yaml_parser_t parser;
        Builder b = { .text = text + bom, .size = size - bom };
        int r;

        if (size > CONFIG_YAML_SIZE_MAX)
                return fail(reterr, -EFBIG, "larger than %u bytes", CONFIG_YAML_SIZE_MAX);
        d = calloc(1, sizeof(YamlDocument));
        if (!d || !yaml_parser_initialize(&parser))
                return -ENOMEM;
        owner = &parser;
        yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
        yaml_parser_set_input_string(&parser, (const unsigned char *) b.text, b.size);

        b.document = d;
        r = build(&b, &parser, reterr);
        free(b.key);
        if (r < 0)
                return r;

        for (size_t i = 0; i < d->n; i++) {
                d->nodes[i].start += bom;
                d->nodes[i].end += bom;
        }
        *ret = TAKE_PTR(d);
        return 0;
}

const YamlNode *yaml_document_find(const YamlDocument *d, size_t parent, const char *key) {
        for (size_t i = 1; i < d->n; i++)
                if (d->nodes[i].parent == parent && streq(d->nodes[i].key, key))
                        return &d->nodes[i];
        return NULL;
}

bool yaml_node_is_null(const YamlNode *node) {
        static const char *const nulls[] = { "", "~", "null", "Null", "NULL" };

        if (node->kind != YAML_KIND_SCALAR || !node->plain)
                return false;
        for (size_t i = 0; i < ELEMENTSOF(nulls); i++)
                if (streq(node->value, nulls[i]))
                        return true;
        return false;
}
