"""The formats of annotation files: COCO, LVIS and YOLO, each read into the same lists."""
