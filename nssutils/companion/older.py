"""Published results that were measured by earlier studies, in the shape of today's tables, until they are replaced."""


def presented(chapter: str, tables: dict) -> dict:
    """A result's tables, those of an earlier study as they would be now."""
    reshape = {"rq1_slicing": _rq1, "rq2_restructuring": _rq2, "rq3_readaptation": _rq3}.get(chapter)
    return tables | reshape(tables) if reshape else tables


def _rq1(tables: dict) -> dict:
    """NNSlicer's curve was measured with RQ1's."""
    points = tables.get("points", [])
    own = [row for row in points if row.get("method") == "nnslicer"]
    return {"points": [row for row in points if row["method"] != "nnslicer"], "curve": own} if own else {}


def _rq2(tables: dict) -> dict:
    """There was one tau, one point, and what fine-tuning gave stood beside."""
    pruned = tables.get("pruned", [])
    if not pruned or "tau" in pruned[0]:
        return {}
    kept = ("method", "iterations", "compression_rate", "accuracy")
    return {
        "pruned": [{key: row[key] for key in kept} | {"tau": 0.01} for row in pruned],
        "finetuned": [{"method": row["method"], "accuracy": row["finetuned"]} for row in pruned],
    }


def _rq3(tables: dict) -> dict:
    """Each repair was timed by itself, once."""
    repairs = tables.get("repairs", [])
    if not repairs or "seconds" not in repairs[0]:
        return {}
    return {"times": [{"method": row["method"], "seconds": row["seconds"]} for row in repairs]}
