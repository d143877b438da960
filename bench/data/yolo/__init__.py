"""YOLO segmentation sets, ``data.yaml`` with label files of polygons, as COCO objects."""
