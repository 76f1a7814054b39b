import pytest
import torch
from lightning.pytorch import Trainer

from lossact.models import MLP, MLPConfig
from lossact.replicas.generators import DATA, WEIGHTS, replica_generator
from lossact.training.single import NetworkTraining, RepeatedBatch
from tests.conftest import PAIRS, report_condition
from tests.replicas.test_stacked_mlp import train_alone


@pytest.mark.filterwarnings("ignore:.*LeafSpec")
@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.parametrize(("activation", "loss"), PAIRS)
def test_a_single_network_equals_the_plain_loop(activation: str, loss: str) -> None:
    budget = 300
    condition = report_condition(activation, loss, budget=budget)
    one = condition.data.sample(replica_generator(0, 2, DATA))
    assert isinstance(condition.network, MLPConfig)
    network = MLP(condition.network, (4, 4)).double()
    start = condition.network.initial_parameters((4, 4), replica_generator(0, 2, WEIGHTS))
    network.load_state_dict({name: torch.from_numpy(array) for name, array in start.items()})
    module = NetworkTraining(
        network,
        loss,
        lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.99, weight_decay=5e-4),
        budget=budget,
    )
    trainer = Trainer(
        accelerator="cpu", precision="64-true", max_epochs=1, min_epochs=0, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    loader = RepeatedBatch(torch.from_numpy(one.images), torch.from_numpy(one.labels), times=budget + 1)
    trainer.fit(module, train_dataloaders=loader)
    curve, steps = train_alone(condition, 2)
    assert module.steps_to_target == steps
    torch.testing.assert_close(torch.stack(module.losses[:201]).tolist(), curve[:201], rtol=1e-9, atol=0)
