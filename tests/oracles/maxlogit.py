def oracle(known, labels, asked, head):
    return [max(row) for row in asked["logits"].tolist()]
